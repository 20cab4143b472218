"""Paired tests over users: do the features help the same recommender beyond chance?"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from mmx.errors import RunError
from mmx.experiments.cells import columns
from mmx.experiments.outcome import Finished
from mmx.experiments.plan import Plan
from mmx.recommend.run import read_table

LEVEL = 0.05  # of the corrected p-value below which a difference is marked
ROUNDING = 1e-12  # means over seeds that differ by less are the same


def holm(p: Sequence[float]) -> np.ndarray:
    """Holm-Bonferroni: p-values (m,) corrected for their number, in the order given.

    The i-th smallest is multiplied by m - i + 1, then no one may be below its predecessor
    (Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979).
    """
    order = np.argsort(p)
    raised = np.asarray(p, dtype=float)[order] * np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(raised), 1.0)
    return corrected


def paired(values: np.ndarray, baseline: np.ndarray) -> tuple[float, float]:
    """Two-sided p-values of the paired t-test and of Wilcoxon's, over (users,) each.

    1 where nothing varies: identical values are no evidence of a difference.
    """
    difference = values - baseline
    difference[np.abs(difference) < ROUNDING] = 0
    if len(difference) < 2 or not difference.any():
        return 1.0, 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # one constant difference: p is 0
        t = stats.ttest_1samp(difference, 0.0).pvalue
        w = stats.wilcoxon(difference).pvalue
    return float(t), float(w)


def compare(plan: Plan, finished: Sequence[Finished]) -> list[dict[str, Any]]:
    """Every features entry against the plan's baseline on the same dataset and recommender.

    A control is compared with its own features instead. Test metrics of each user are averaged
    over the seeds; p-values are corrected over the comparisons of one metric within one dataset,
    those of controls apart from the others.
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
            rows += _rows(plan, baseline, mine, theirs)
    families = defaultdict(list)
    for row in rows:
        families[row["dataset"], row["metric"], row.get("control") is None].append(row)
    for family in families.values():
        for test in ("t", "wilcoxon"):
            corrected = holm([row[f"p_{test}"] for row in family])
            for row, value in zip(family, corrected, strict=True):
                row[f"p_{test}_holm"] = float(value)
    return rows


def _rows(
    plan: Plan, baseline: str, mine: list[Finished], theirs: list[Finished]
) -> list[dict[str, Any]]:
    (users, values), (others, base) = _per_user(mine, plan.metrics), _per_user(theirs, plan.metrics)
    if users != others:
        raise RunError(f"{mine[0].path} and {theirs[0].path} tested other users; remove both")
    rows = []
    for metric in plan.metrics:
        t, wilcoxon = paired(values[metric], base[metric])
        cell = mine[0].cell
        row = {"dataset": cell.dataset, "recommender": cell.recommender} | columns(plan, cell)
        row |= {"baseline": baseline, "metric": metric, "users": len(users)}
        row |= {"mean": float(values[metric].mean()), "baseline_mean": float(base[metric].mean())}
        rows.append(row | {"p_t": t, "p_wilcoxon": wilcoxon})
    return rows


def _per_user(
    runs: list[Finished], metrics: Sequence[str]
) -> tuple[list[str], dict[str, np.ndarray]]:
    """The test users in order of their ids, and each metric (users,) averaged over the runs."""
    users: list[str] = []
    total: dict[str, np.ndarray] = {}
    for run in runs:
        table = read_table(run.path / "per_user.parquet").sort_by("user_id")
        here = table["user_id"].to_pylist()
        if total and here != users:
            raise RunError(f"{run.path} and {runs[0].path} tested other users; remove both")
        users = here
        for name in metrics:
            total[name] = total.get(name, 0.0) + table[name].to_numpy() / len(runs)
    return users, total
