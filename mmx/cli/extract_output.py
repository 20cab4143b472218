"""What ``mmx extract`` shows while it runs and at its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mmx.cli.output import note, print_json
from mmx.extract.reasons import Reason

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from mmx.extract.options import ExtractReport
    from mmx.extract.stages.progress import Progress


def name_hosts(examples: dict[str, list[str]], said: set[str]) -> None:
    """Say which hosts were given up, once each."""
    for line in list(examples.get(Reason.GIVEN_UP, ())):
        if line not in said:
            said.add(line)
            note(f"{line}: given up for now, the next run tries again")


def drawer(bar: Bar, said: set[str]) -> Callable[[Progress], None]:
    """A progress callback that draws one bar for each stage."""
    tasks: dict[str, int] = {}
    words = {"check": "checking what is there", "encode": "encoding", "merge": "writing the store"}

    def draw(state: Progress) -> None:
        name_hosts(state.examples, said)
        if state.stage not in tasks:
            tasks[state.stage] = bar.add_task(words[state.stage], rate="", bottleneck="")
        task = bar.tasks[tasks[state.stage]]
        rate = state.done / task.elapsed if task.elapsed else 0.0
        slow = _speeds(state) if state.stage == "encode" else ""
        bar.update(
            task.id, completed=state.done, total=state.total, rate=f"{rate:.0f}/s", bottleneck=slow
        )

    return draw


def _speeds(state: Progress) -> str:
    """What each stage could do, and which one the others wait for."""
    speeds = (f"{verb} {state.rate(stage):.0f}/s" for verb, stage in
              (("decode", "decoding"), ("encode", "encoding")) if state.rate(stage))  # fmt: skip
    return ", ".join([*speeds, f"bottleneck: {state.bottleneck}"])


def summarise(report: ExtractReport, as_json: bool) -> None:
    """What was done, and how many rows failed for which reason, with some of their pictures."""
    if as_json:
        print_json(
            {
                "store": str(report.store),
                "items": report.items,
                "encoded": report.encoded,
                "reused": report.reused,
                "removed": report.removed,
                "seconds": round(report.seconds, 3),
                "bottleneck": report.bottleneck,
                "rates": {stage: round(rate, 1) for stage, rate in report.rates.items()},
                "waited": {stage: round(spent, 3) for stage, spent in report.waited.items()},
                "precision": report.precision,
                "accuracy": report.accuracy,
                "batch_size": report.batch_size,
                "note": report.note,
                "statuses": report.statuses,
                "examples": report.examples,
            }
        )
        return
    note(
        f"{report.store}: {report.items} items, {report.encoded} encoded, {report.reused} reused, "
        f"{report.removed} removed in {report.seconds:.1f} s"
    )
    if report.note:
        note(f"  {report.note}")
    for failure, rows in report.failures.items():
        note(f"  {rows} × {failure}")
        reason = failure.removeprefix("image: ")
        if reason != Reason.GIVEN_UP:  # those hosts were named already
            for example in report.examples.get(reason, ()):
                note(f"      {example}")
    if report.failures:
        note("  --retry-failed tries these again")
