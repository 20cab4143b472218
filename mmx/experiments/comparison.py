"""``mmx compare``: every arm against one of them, on the test metrics of their runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mmx.errors import OptionError, suggestion
from mmx.experiments.arms import Arm, arms_of, best_baseline, find_arm
from mmx.experiments.power import WANTED, power, splits_needed
from mmx.experiments.repeated import PerUser, Row, against, correct, measured, overlap_ratio
from mmx.experiments.statistics import LEVEL
from mmx.recommend.metrics import MEASURED
from mmx.recommend.validation import VALIDATED_ON

BEST_BASELINE = "best-baseline"


@dataclass
class Comparison:
    """What ``mmx compare`` found. ``arms`` has one row for each arm, ``results`` one per metric."""

    against: str  # the arm that the others are compared with
    chosen: str  # how it was chosen
    metrics: list[str]
    splits: int
    ratio: float  # n_test / n_train, mean over the splits
    arms: list[Row] = field(default_factory=list)
    results: list[Row] = field(default_factory=list)  # the arm compared with has no tests
    notes: list[str] = field(default_factory=list)

    @property
    def primary(self) -> str:
        """The test that counts: over splits where there are several, else over users."""
        return "split" if self.splits > 1 else "t"


def compare_runs(
    paths: Sequence[Path | str],
    *,
    to: str | None = None,
    metrics: Sequence[str] | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Comparison:
    """Compare finished runs, grouped into arms; see ``mmx.experiments.arms``.

    ``to`` names the arm that the others are compared with: an arm, a run of it, a model, or
    "best-baseline", which is the default where an arm is without features; else the first arm is.
    ``progress`` gets the number of runs read. Raises RunError for runs that may not be compared,
    OptionError for an unknown arm or metric.
    """
    arms = arms_of(paths, progress)
    base, chosen = _base(arms, to)
    names = _metrics(arms, metrics)
    one_each = {run.split: run.path for run in base.runs}
    ratio = overlap_ratio(one_each.values())
    table = PerUser.of([run for arm in arms for run in arm.repetitions], names)
    found = Comparison(base.name, chosen, names, len(one_each), ratio, [_about(a) for a in arms])
    for arm in arms:
        found.results += _results(table, arm, None if arm is base else base, names, ratio)
    _mark_best(found.results)
    correct([row for row in found.results if "p_t" in row], lambda row: row["metric"])
    found.notes = list(_notes(found))
    return found


def _base(arms: Sequence[Arm], to: str | None) -> tuple[Arm, str]:
    """The arm that others are compared with, and how it was chosen: never by a test metric."""
    plain = [arm for arm in arms if not arm.features and not np.isnan(arm.valid)]
    if to == BEST_BASELINE or (to is None and plain):
        return best_baseline(arms), f"the best without features by validation {VALIDATED_ON}"
    return (arms[0], "the first given") if to is None else (find_arm(arms, to), "by name")


def _metrics(arms: Sequence[Arm], wanted: Sequence[str] | None) -> list[str]:
    """The metrics, each once. Raises OptionError for one that some run does not have."""
    names = list(dict.fromkeys(MEASURED if wanted is None else wanted))
    if not names:
        raise OptionError("--metrics names none; give some, as recall@20,ndcg@20")
    for run in (run for arm in arms for run in arm.runs):
        known = measured(run.path)
        for name in names:
            if name not in known:
                raise OptionError(f"--metrics {name}: {run.path} has none{suggestion(name, known)}")
    return names


def _about(arm: Arm) -> Row:
    runs = [str(run.path) for run in arm.runs]
    about = {"arm": arm.name, "features": arm.features, "splits": len({r.split for r in arm.runs})}
    return {**about, "runs": runs, f"valid_{VALIDATED_ON}": arm.valid}


def _results(
    table: PerUser, arm: Arm, base: Arm | None, metrics: Sequence[str], ratio: float
) -> Iterator[Row]:
    runs = arm.repetitions
    for metric in metrics:
        row = {"arm": arm.name, "metric": metric, "runs": len(runs)}
        row |= {"mean": table.mean(runs, metric), "deviation": table.deviation(runs, metric)}
        if base is not None:
            row |= against(table, runs, base.repetitions, metric, ratio)
        yield row


def _mark_best(rows: Sequence[Row]) -> None:
    """``best``: whether a row's mean is the highest of its metric; equal ones share it."""
    for row in rows:
        means = [other["mean"] for other in rows if other["metric"] == row["metric"]]
        row["best"] = bool(row["mean"] == max(means)) and len(means) > 1


def _notes(found: Comparison) -> Iterator[str]:
    """What a reader of the table has to know."""
    if len(found.arms) == 1:
        yield "all runs are of one arm: nothing to compare"
        return
    if found.splits == 1:
        yield (
            "one split: the tests are over its users, and no p-value or interval knows how another "
            "split would turn out; train on several (repeat_splits in a plan)"
        )
    for row in found.results:
        if "p_t" in row and row["metric"] == _main(found.metrics):
            yield from _too_few(found, row)


def _main(metrics: Sequence[str]) -> str:
    """The metric that the notes go by."""
    return VALIDATED_ON if VALIDATED_ON in metrics else metrics[0]


def _too_few(found: Comparison, row: Row) -> Iterator[str]:
    """Whether splits and seeds are too few for a gain of the observed size; see ``power``."""
    gain, p = abs(row["gain"]), row[f"p_{found.primary}_holm"]
    if not np.isfinite(gain) or not gain or (found.splits > 1 and p < LEVEL):
        return
    seeds = max(1, row["runs"] // found.splits)
    world = {"seeds": seeds, "users": row["users"], "ratio": found.ratio}
    chance = 0.0 if found.splits == 1 else power(gain, splits=found.splits, **world)
    if chance >= WANTED:
        return
    needed = splits_needed(gain, **world)
    enough = "more than 30 splits" if needed is None else f"about {needed} splits"
    have = f"{found.splits} split{'s' * (found.splits > 1)} and {seeds} seed{'s' * (seeds > 1)}"
    yield (
        f"{row['arm']}: too few splits for a difference of {100 * gain:.1f} % in {row['metric']}: "
        f"{have} would show it with probability {chance:.2f}, {enough} with {WANTED:g}"
    )
