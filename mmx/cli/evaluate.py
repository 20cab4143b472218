"""``mmx evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmx.cli.output import AsJson, Debug, Quiet, note, print_json, print_table


def evaluate(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    split: Annotated[str, typer.Option(help="valid or test.")] = "test",
    tail: Annotated[
        int | None,
        typer.Option(help="Count only held-out items with at most so many training interactions."),
    ] = None,
    cold: Annotated[
        bool, typer.Option("--cold", help="Count only items without training interactions.")
    ] = False,
    at: Annotated[
        list[str] | None,
        typer.Option(help="Cut-offs K, as 1,7,100; repeatable.", show_default="5,10,20,50"),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Evaluate a finished run again: full ranking, training items masked."""
    from mmx.recommend.api import evaluate as measure
    from mmx.recommend.metrics import CUTOFFS
    from mmx.recommend.run import metrics_of

    cutoffs = _cutoffs(at) if at else CUTOFFS
    measured = measure(run, split, cutoffs, tail=tail, cold=cold, log=note)
    metrics = metrics_of({split: measured})
    if as_json:
        print_json({"run": str(run), "tail": 0 if cold else tail, **metrics})
    else:
        print_metrics(metrics)


def _cutoffs(texts: list[str]) -> list[int]:
    """The numbers of all texts."""
    from mmx.errors import OptionError

    found = []
    for part in (part.strip() for text in texts for part in text.split(",")):
        try:
            found.append(int(part))
        except ValueError:
            raise OptionError(f"--at {part[:40]}: whole numbers are expected, as 1,7,100") from None
    return found


def print_metrics(metrics: dict[str, dict[str, float]]) -> None:
    """One row per metric and split, one column per cut-off."""
    from mmx.recommend.metrics import METRICS

    splits = [name for name in ("valid", "test") if name in metrics]
    cutoffs = sorted({int(key.partition("@")[2]) for key in metrics[splits[0]]})
    rows = [
        [split, metric, *(metrics[split].get(f"{metric}@{k}", float("nan")) for k in cutoffs)]
        for split in splits
        for metric in METRICS
    ]
    print_table(["split", "metric", *(f"@{k}" for k in cutoffs)], rows, decimals=4)
    for split in splits:
        left_out = metrics["counts"][f"{split}_users_without_training"]
        extra = f", {left_out:.0f} without training items left out" if left_out else ""
        users, items = (metrics["counts"][f"{split}_{what}"] for what in ("users", "items"))
        note(f"{split}: {users:.0f} users, {items:.0f} different items{extra}")
