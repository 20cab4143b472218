"""The table of what the runs of a plan cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmx.experiments.arms import arms_of
from mmx.experiments.cells import Cell
from mmx.experiments.costs import cost_of, costs
from mmx.experiments.outcome import Finished
from mmx.recommend.options import TrainOptions
from tests.experiments.made_runs import made_run
from tests.experiments.tiny import tiny_plan

MEASURED = {"training_seconds": 2.0, "peak_memory_bytes": 3 << 20, "parameters": 70,
            "cpu_joules": 500.0, "gpu_joules": None}  # fmt: skip


def run(path: Path, seed: int, model: str = "bpr", **cost: Any) -> Finished:
    changes = {"cost": {**MEASURED, **cost}} if cost != {"none": 1} else {}
    cell = Cell("tiny", "none", model, model, (), TrainOptions(seed=seed))
    return Finished(cell, made_run(path / f"{model}{seed}", [1.0] * 6, seed=seed, **changes))


def test_means_over_the_runs_and_the_most_memory(tmp_path: Path) -> None:
    found = [run(tmp_path, 3), run(tmp_path, 4, training_seconds=4.0, peak_memory_bytes=5 << 20)]
    found += [run(tmp_path, 5, cpu_joules=None, training_seconds=6.0), run(tmp_path, 3, "ease")]
    bpr, ease = costs(tiny_plan(), found)
    assert bpr == {"dataset": "tiny", "features": "none", "recommender": "bpr", "training s": 4.0,
                   "peak MiB": 5.0, "parameters": 70, "CPU kJ": 0.5}  # fmt: skip
    assert ease["training s"] == 2.0


def test_what_was_not_measured_is_not_there(tmp_path: Path) -> None:
    older = run(tmp_path, 3, none=1)
    assert set(cost_of(older).values()) == {None}
    assert costs(tiny_plan(), [older]) == []
    mixed, other = costs(tiny_plan(), [older, run(tmp_path, 3, "ease")])
    assert (mixed["training s"], other["training s"]) == (None, 2.0)
    odd = run(tmp_path, 9, "vbpr", training_seconds="fast", parameters=True)
    assert cost_of(odd)["training_seconds"] is None
    assert cost_of(odd)["parameters"] is None


def test_a_cost_makes_no_other_arm(tmp_path: Path) -> None:
    """Nor do digests, which older runs lack."""
    inputs = {"items": {"rows": 10, "sha256": "0"}}
    one = made_run(tmp_path / "a", [1.0] * 6, seed=0, cost=MEASURED, inputs=inputs)
    other = made_run(tmp_path / "b", [1.0] * 6, seed=1)
    assert len(arms_of([one, other])) == 1
