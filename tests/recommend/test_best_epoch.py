"""Which epoch is the best one, and when there is none to come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mmx.recommend import checkpoint, training
from tests.recommend.short_training import log, run


def alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every evaluation finds the same."""
    monkeypatch.setattr(training, "validated", lambda *_: {"recall@20": 0.5})


def test_of_equal_epochs_the_first_is_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    alike(monkeypatch)
    assert run(log(), epochs=3).best_epoch == 1


@pytest.mark.parametrize("options", [{"patience": 2}, {}])
def test_patience_is_in_evaluations(options: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best epoch is the third; two more evaluations are those of the sixth and the ninth."""
    alike(monkeypatch)
    monkeypatch.setattr(training, "EVALUATIONS", 2)
    monkeypatch.setattr(training, "STEPS", 1)
    trained = run(log(), epochs=40, eval_every=3, **options)
    assert (trained.best_epoch, len(trained.history)) == (3, 9)


def test_the_last_epoch_is_evaluated_too() -> None:
    rows = run(log(), epochs=5, eval_every=3).history
    assert [row["epoch"] for row in rows if "valid_recall@20" in row] == [3, 5]


def test_after_a_kill_the_best_epoch_is_the_one_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every later epoch is worse, and no better than the one before the kill."""
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    worse = iter([1 / n for n in range(1, 99)])
    monkeypatch.setattr(training, "validated", lambda *_: {"recall@20": next(worse)})
    data, path = log(), tmp_path / "checkpoint"
    first = run(data, path, epochs=2)
    resumed = run(data, path, epochs=4)
    assert (resumed.best, resumed.best_epoch, len(resumed.history)) == (1, 1, 4)
    for name, value in first.state.items():
        assert torch.equal(resumed.state[name], value)
    np.testing.assert_array_equal(resumed.scorer.users, first.scorer.users)
