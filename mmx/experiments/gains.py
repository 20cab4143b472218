"""How much of the gain over a model without features is left when features say nothing.

What is left under ``shuffle``, ``noise`` or ``constant`` does not come from the contents of the
items. The model without features is the one that the recommender names with ``against``, else the
plan's best by validation; test figures choose nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmx.experiments.outcome import Finished
from mmx.experiments.plan import Plan
from mmx.experiments.statistics import ROUNDING
from mmx.recommend.validation import VALIDATED_ON

Runs = dict[tuple[str, str], list[Finished]]  # dataset, recommender
Rows = list[dict[str, Any]]


def gains(plan: Plan, finished: Sequence[Finished]) -> Rows:
    """One row for each control of each features entry, recommender, dataset and metric.

    ``left`` is the gain under the control as a share of the gain of the features; None where these
    gain nothing. ``spread`` is the deviation of the gain over the seeds: √(s² + s²) of the two
    models, None for a single seed. Without a finished model without features ``without`` is None,
    and so is all that depends on it.
    """
    runs: dict[tuple[str, str, str, str | None], list[Finished]] = defaultdict(list)
    bare: Runs = defaultdict(list)
    for one in finished:
        cell = one.cell
        runs[cell.dataset, cell.recommender, cell.features, cell.arm].append(one)
        if plan.features[cell.features].empty:
            bare[cell.dataset, cell.recommender].append(one)
    rows: Rows = []
    for (dataset, recommender, features, arm), mine in runs.items():
        real = runs.get((dataset, recommender, features, None))
        if arm is None or not real:
            continue
        without = _without(plan, dataset, recommender, bare)
        key = {"dataset": dataset, "recommender": recommender, "features": features}
        rows += [
            {**key, "control": arm, "without": without, "metric": metric}
            | _gain(metric, mine, real, bare.get((dataset, without or "")))
            for metric in plan.metrics
        ]
    return rows


def _without(plan: Plan, dataset: str, recommender: str, bare: Runs) -> str | None:
    """The model without features that a recommender is compared with; None if not finished."""
    named = plan.recommenders[recommender].against
    if named is not None:
        return named if (dataset, named) in bare else None
    there = {name: runs for (where, name), runs in bare.items() if where == dataset}
    return max(there, key=lambda name: _validated(there[name]), default=None)


def _validated(runs: list[Finished]) -> float:
    """Mean validation metric; below any where nothing validates, so that the first one counts."""
    mean = float(np.mean([run.metrics("valid")[VALIDATED_ON] for run in runs]))
    return -math.inf if math.isnan(mean) else mean


def _gain(
    metric: str, mine: list[Finished], real: list[Finished], bare: list[Finished] | None
) -> dict[str, Any]:
    """Means of the three, the gains over the model without features, and what is left."""
    control, value = _values(mine, metric).mean(), _values(real, metric)
    row: dict[str, Any] = {"value": float(value.mean()), "value_control": float(control)}
    if bare is None:
        nothing = ("value_without", "gain", "gain_control", "left", "spread")
        return row | dict.fromkeys(nothing)
    base = _values(bare, metric)
    gain, gain_control = float(value.mean() - base.mean()), float(control - base.mean())
    seeds = max(len(value), len(base))
    spread = math.hypot(*(v.std(ddof=1) for v in (value, base) if len(v) > 1))
    return row | {
        "value_without": float(base.mean()),
        "gain": gain,
        "gain_control": gain_control,
        "left": gain_control / gain if gain > ROUNDING else None,
        "spread": spread if seeds > 1 else None,
    }


def _values(runs: list[Finished], metric: str) -> np.ndarray:
    """(seeds,) of test."""
    return np.array([run.metrics("test")[metric] for run in runs])


def in_words(plan: Plan, rows: Rows) -> list[str]:
    """A sentence or two for each features entry that has a control; nothing without controls.

    They are about Recall@20 where the plan has it, else about its first metric.
    """
    metric = VALIDATED_ON if VALIDATED_ON in plan.metrics else plan.metrics[0]
    together = defaultdict(list)
    for row in rows:
        if row["metric"] == metric:
            together[row["dataset"], row["recommender"], row["features"]].append(row)
    return [_said(arms) for arms in together.values()]


def _said(arms: Rows) -> str:
    first = arms[0]
    reached = (
        f"{first['dataset']}: {first['recommender']} with {first['features']} has "
        f"{first['metric']} {first['value']:.4f}"
    )
    plainly = "Under " + ", ".join(f"{r['control']} {r['value_control']:.4f}" for r in arms) + "."
    if first["without"] is None:
        return (f"{reached}. {plainly} No model without features is finished, so a gain over one "
                "is not known.")  # fmt: skip
    reached += f", {first['without']} without features {first['value_without']:.4f}: "
    if first["left"] is None:
        return f"{reached}no gain. {plainly}"
    base = first["value_without"]
    relative = f" ({first['gain'] / base:+.1%})" if base > 0 else ""
    left = ", ".join(map(_share, arms))
    return f"{reached}a gain of {first['gain']:.4f}{relative}. Left of it: {left}.{_doubt(first)}"


def _share(row: dict[str, Any]) -> str:
    left = "none" if row["left"] <= 0 else f"{row['left']:.0%}"
    return f"{left} under {row['control']} ({row['value_control']:.4f})"


def _doubt(row: dict[str, Any]) -> str:
    """What the seeds say against reading anything into the shares."""
    if row["spread"] is None:
        return " One run of each does not say how much of it is chance."
    if row["gain"] >= row["spread"]:
        return ""
    return (f" It is below the deviation of such a difference over the seeds ({row['spread']:.4f}),"
            " so the shares say little.")  # fmt: skip
