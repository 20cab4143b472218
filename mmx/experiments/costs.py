"""What the runs of a plan cost; see ``mmx.recommend.cost``. Nothing is estimated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mmx.experiments.cells import columns
from mmx.experiments.outcome import Finished
from mmx.experiments.plan import Plan
from mmx.recommend.run_config import config_of

Rows = list[dict[str, Any]]
Value = float | int | None
MEASURED = (
    "training_seconds", "evaluation_seconds", "peak_memory_bytes", "gpu_peak_memory_bytes",
    "parameters", "cpu_joules", "gpu_joules",
)  # fmt: skip
SHOWN: dict[str, tuple[str, Callable[[list[float]], float], float]] = {  # name, over runs, unit
    "training_seconds": ("training s", np.mean, 1),
    "evaluation_seconds": ("evaluation s", np.mean, 1),
    "peak_memory_bytes": ("peak MiB", max, 1 << 20),
    "gpu_peak_memory_bytes": ("GPU peak MiB", max, 1 << 20),
    "parameters": ("parameters", max, 1),
    "cpu_joules": ("CPU kJ", np.mean, 1e3),
    "gpu_joules": ("GPU kJ", np.mean, 1e3),
}  # fmt: skip
LEGEND = (
    "Cost of a run: means over the runs, of memory and parameters the most. Energy is that of the "
    "whole machine's counters meanwhile. — is not measured."
)


def cost_of(one: Finished) -> dict[str, Value]:
    """Of a run; None for what was not measured, or by a version that measured nothing."""
    cost = config_of(one.path).get("cost", {})
    return {name: _number(cost.get(name)) for name in MEASURED}


def costs(plan: Plan, finished: Sequence[Finished]) -> Rows:
    """One row for each dataset, recommender, features and control; empty where nothing is known."""
    runs = defaultdict(list)
    for one in finished:
        about = {**columns(plan, one.cell), "recommender": one.cell.recommender}
        runs[tuple(about.items())].append(cost_of(one))
    rows = [dict(key) | _shown(measured) for key, measured in runs.items()]
    names = [name for name, _, _ in SHOWN.values()]
    empty = {name for name in names if all(row[name] is None for row in rows)}
    if empty == set(names):
        return []
    return [{name: row[name] for name in row if name not in empty} for row in rows]


def _shown(measured: Sequence[dict[str, Value]]) -> dict[str, Value]:
    """Over the runs that were measured."""
    row: dict[str, Value] = {}
    for key, (name, over, unit) in SHOWN.items():
        values = [float(each[key] or 0) for each in measured if each[key] is not None]
        row[name] = None if not values else round(float(over(values)) / unit, 3)
        if values and name == "parameters":
            row[name] = int(max(values))
    return row


def _number(value: Any) -> Value:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
