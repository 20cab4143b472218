"""Large matrices of the best epoch are kept in files; nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mmx.mapped import Space
from mmx.recommend import checkpoint
from mmx.recommend.kept import Kept
from mmx.recommend.models import bpr
from mmx.recommend.options import TrainOptions, TrainProgress
from mmx.recommend.protocol import World
from mmx.recommend.trained import Trained
from mmx.recommend.training import train
from tests.recommend.short_training import log


class KilledError(Exception):
    """Instead of a kill."""


def trained(path: Path, space: Space, kill: int = 0) -> Trained:
    def progress(state: TrainProgress) -> None:
        if state.epoch == kill:
            raise KilledError

    data, options = log(), TrainOptions(epochs=4, batch_size=128, lr=0.01)
    model = bpr.Model(bpr.Config(dim=8), World(data.train), torch.Generator().manual_seed(0))
    return train(model, data, options, progress, path, space=space)


def test_a_training_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that was killed; and the files have no names that a kill would leave."""
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    here = trained(tmp_path / "here", Space())
    with pytest.raises(KilledError):
        trained(tmp_path / "there", Space(tmp_path), kill=3)
    there = trained(tmp_path / "there", Space(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"here", "there"}
    for name, value in here.state.items():
        torch.testing.assert_close(there.state[name], value, rtol=0, atol=0)
    np.testing.assert_array_equal(here.scorer.items, there.scorer.items)
    np.testing.assert_array_equal(here.scorer.users, there.scorer.users)
    assert here.best_epoch == there.best_epoch


def test_a_copy_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    kept, state = Kept(Space(tmp_path, 300)), {}
    model = torch.nn.Linear(10, 8)  # a weight of 320 bytes, which is large
    kept.state(state, model)
    before = state["weight"].data_ptr(), state["bias"].data_ptr()
    with torch.no_grad():
        model.weight += 1
        model.bias += 1
    kept.release()
    kept.state(state, model)
    assert (state["weight"].data_ptr(), state["bias"].data_ptr()) == before
    for name, value in model.state_dict().items():
        assert torch.equal(state[name], value)
        assert state[name].data_ptr() != value.data_ptr()


def test_numbers_of_another_kind_stay_what_they_are(tmp_path: Path) -> None:
    model = torch.nn.Module()
    model.register_buffer("edges", torch.arange(2**40, 2**40 + 80).reshape(10, 8))
    kept, state = Kept(Space(tmp_path, 300)), {}
    kept.state(state, model)
    assert state["edges"].dtype == torch.int64
    assert torch.equal(state["edges"], model.get_buffer("edges"))
