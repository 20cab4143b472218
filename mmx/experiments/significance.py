"""Do the features help the same recommender beyond chance? The tests of a plan."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from mmx.experiments.outcome import Finished
from mmx.experiments.plan import Plan
from mmx.experiments.repeated import PerUser, Repetition, against, correct, overlap_ratio


def compare(plan: Plan, finished: Sequence[Finished]) -> list[dict[str, Any]]:
    """Every features entry against the plan's baseline on the same dataset and recommender.

    p-values are corrected over the comparisons of one metric within one dataset.
    """
    runs = defaultdict(list)
    for one in finished:
        runs[one.cell.dataset, one.cell.recommender, one.cell.features].append(one)
    rows = []
    for (dataset, recommender, features), mine in runs.items():
        theirs = runs.get((dataset, recommender, plan.baseline or ""))
        if theirs and features != plan.baseline:
            head = {"dataset": dataset, "recommender": recommender, "features": features}
            head["baseline"] = plan.baseline or ""
            rows += [{**head, **row} for row in _rows(plan, mine, theirs)]
    correct(rows, lambda row: (row["dataset"], row["metric"]))
    return rows


def _rows(plan: Plan, mine: list[Finished], theirs: list[Finished]) -> list[dict[str, Any]]:
    ours, others = ([_repetition(one) for one in arm] for arm in (mine, theirs))
    table = PerUser.of([*ours, *others], plan.metrics)
    splits = {run.split: run.path for run in others}
    ratio = overlap_ratio(splits.values()) if len(splits) > 1 else 0.0
    return [against(table, ours, others, metric, ratio) for metric in plan.metrics]


def _repetition(one: Finished) -> Repetition:
    return Repetition(one.path, one.cell.split_seed, one.cell.training.seed)
