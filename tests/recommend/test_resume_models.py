"""A killed training of any model ends in the weights that it would have had, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mmx.recommend import checkpoint
from mmx.recommend.features import Features
from mmx.recommend.models import MODELS
from mmx.recommend.protocol import World
from mmx.recommend.trained import Trained
from mmx.recommend.training import TrainOptions, TrainProgress, train
from tests.recommend.short_training import log

STEPPED = [name for name, record in MODELS.items() if not record.closed_form]
ITEMS = 40


class KilledError(Exception):
    """Stands for a kill in epoch 3, whose checkpoint is not written."""


def kill(state: TrainProgress) -> None:
    if state.epoch == 3:
        raise KilledError


def trained(
    name: str, path: Path | None, progress: Callable[[TrainProgress], None] = lambda state: None
) -> Trained:
    module, data = MODELS[name].load(), log(users=30, items=ITEMS, each=8)
    rng = np.random.default_rng(2)
    features = {
        modality: Features(rng.normal(size=(ITEMS, 6)).astype(np.float32), np.ones(ITEMS, bool))
        for modality in ("image", "text")
    }
    world = World(data.train, features if MODELS[name].features == "required" else {})
    model = module.Model(module.Config(dim=8), world, torch.Generator().manual_seed(0))
    return train(model, data, TrainOptions(epochs=4, batch_size=64, lr=0.01), progress, path)


@pytest.mark.parametrize("name", STEPPED)
def test_a_killed_run_ends_in_the_same_weights(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    whole, path = trained(name, None), tmp_path / "checkpoint"
    with pytest.raises(KilledError):
        trained(name, path, kill)
    resumed = trained(name, path)
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in whole.history]
    np.testing.assert_array_equal(resumed.scorer.users, whole.scorer.users)
    np.testing.assert_array_equal(resumed.scorer.items, whole.scorer.items)
