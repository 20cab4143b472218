"""Do the features help the same recommender beyond chance? The tests of a plan."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from mmx.experiments.cells import columns
from mmx.experiments.outcome import Finished
from mmx.experiments.plan import Plan
from mmx.experiments.repeated import PerUser, Repetition, against, correct, overlap_ratio


def compare(plan: Plan, finished: Sequence[Finished]) -> list[dict[str, Any]]:
    """Every features entry against the plan's baseline on the same dataset and recommender.

    A control is compared with its own features instead. p-values are corrected over the
    comparisons of one metric within one dataset, those of controls apart from the others.
    """
    runs = defaultdict(list)
    for one in finished:
        cell = one.cell
        runs[cell.dataset, cell.recommender, cell.features, cell.arm].append(one)
    rows = []
    for (dataset, recommender, features, arm), mine in runs.items():
        baseline = (plan.baseline or "") if arm is None else features
        theirs = runs.get((dataset, recommender, baseline, None))
        if theirs and theirs is not mine:
            head = {"dataset": dataset, "recommender": recommender}
            head |= columns(plan, mine[0].cell) | {"baseline": baseline}
            rows += [{**head, **row} for row in _rows(plan, mine, theirs)]
    correct(rows, lambda row: (row["dataset"], row["metric"], row.get("control") is None))
    return rows


def _rows(plan: Plan, mine: list[Finished], theirs: list[Finished]) -> list[dict[str, Any]]:
    ours, others = ([_repetition(one) for one in arm] for arm in (mine, theirs))
    table = PerUser.of([*ours, *others], plan.metrics)
    splits = {run.split: run.path for run in others}
    ratio = overlap_ratio(splits.values()) if len(splits) > 1 else 0.0
    return [against(table, ours, others, metric, ratio) for metric in plan.metrics]


def _repetition(one: Finished) -> Repetition:
    return Repetition(one.path, one.cell.split_seed, one.cell.training.seed)
