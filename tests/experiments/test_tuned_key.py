"""What a fine-tuned encoder of a plan is called by."""

from pathlib import Path
from typing import Any

import pytest

from mmx.experiments.artifacts import Artifacts
from mmx.experiments.journal import Journal
from tests.experiments.tiny import tiny_plan


@pytest.mark.parametrize(("objective", "differ"), [("co-interaction", True), ("itc", False)])
def test_one_that_learns_from_training_pairs_is_of_its_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objective: str, differ: bool
) -> None:
    """Else it would have learned pairs that another split tests."""
    made: list[str] = []
    monkeypatch.setattr(Artifacts, "_once", lambda self, target, make: made.append(target.name))
    monkeypatch.setattr(Artifacts, "_extracted", lambda *given, **more: None)
    tuning = {"finetune": {"model": "clip:mini", "objectives": [objective]}}
    for fold in (0, 1):
        dataset: dict[str, Any] = {"sample": {}, "split": "random", "folds": 5, "fold": fold}
        plan = tiny_plan(datasets={"d": dataset}, features={"tuned": tuning}, baseline=None)
        artifacts = Artifacts(plan, tmp_path, Journal(tmp_path / "started.json"))
        entry = plan.features["tuned"].finetune
        assert entry is not None
        artifacts._tuned("d", entry)
    assert (made[0] != made[1]) == differ
