"""What an epoch copies from the GPU is the lists of its validation: embeddings and state stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from mmx.recommend import checkpoint, kept, training
from mmx.recommend.device_factors import DeviceFactors
from mmx.recommend.interactions import Interactions
from mmx.recommend.kept import Kept
from mmx.recommend.models import bpr
from mmx.recommend.options import TrainOptions, TrainProgress
from mmx.recommend.protocol import World
from mmx.recommend.trained import Trained
from mmx.recommend.training import train
from tests.devices.fake_cuda import FakeCuda
from tests.recommend.short_training import log

USERS, ITEMS, DIM = 200, 4000, 64  # enough of them to be ranked on a GPU
LISTS = 12 * 24 * USERS  # bytes: of 20 items and some to spare, their scores and numbers
EMBEDDINGS = 4 * DIM * (USERS + ITEMS)
EPOCHS = 3


class StoppedError(Exception):
    """Instead of a kill."""


@pytest.fixture(scope="module")
def data() -> Interactions:
    return log(USERS, ITEMS, 12)


def trained(
    data: Interactions, path: Path | None = None, stop: int = 0, **options: Any
) -> tuple[Trained, list[int]]:
    """What came of it, and the bytes from the GPU up to the end of each epoch."""
    copied = []

    def progress(state: TrainProgress) -> None:
        copied.append(gpu.copied)
        if state.epoch == stop:
            raise StoppedError

    with FakeCuda() as gpu:
        model = bpr.Model(bpr.Config(dim=DIM), World(data.train), torch.Generator().manual_seed(0))
        chosen = TrainOptions(device="cuda", **{"epochs": EPOCHS, "lr": 0.01, **options})
        found = train(model, data, chosen, progress, path)
        assert gpu.mixed == []
    return found, copied


def growing(data: Interactions, **options: Any) -> list[int]:
    """Bytes of each epoch but the first."""
    found, copied = trained(data, **options)
    assert found.best_epoch == EPOCHS  # so each was the best one, and kept
    return np.diff(copied).tolist()


def test_embeddings_and_state_are_copied_once_at_the_end(data: Interactions) -> None:
    for each in growing(data):
        assert LISTS <= each < EMBEDDINGS / 4


def test_an_epoch_that_is_not_validated_copies_nothing(data: Interactions) -> None:
    assert growing(data, eval_every=EPOCHS)[0] == 0


@pytest.mark.parametrize("planted", ["scorer", "state"])
def test_one_more_copy_is_seen(planted: str, data: Interactions) -> None:
    inner = getattr(Kept, planted)

    def fetched(self: Kept, first: Any, second: Any) -> None:
        inner(self, first, second)
        if planted == "scorer":
            self.fetch(first)
        else:
            for name in first:
                first[name] = first[name].cpu()

    with mock.patch.object(Kept, planted, fetched):
        assert min(growing(data)) > EMBEDDINGS


def test_without_room_they_are_on_the_cpu(data: Interactions) -> None:
    """And what is found is the same."""
    there, _ = trained(data)
    with mock.patch.object(kept, "SHARE_OF_GPU", 1 << 30):
        assert min(growing(data)) > 2 * EMBEDDINGS
        same(there, trained(data)[0])


def test_a_resumed_training_has_the_best_epoch(data: Interactions, tmp_path: Path) -> None:
    """Killed before its best one was written, or after."""
    options = {"epochs": 5, "lr": 1.0}
    straight, _ = trained(data, **options)
    assert 1 < straight.best_epoch < 4
    for stop in range(straight.best_epoch, 5):
        path = tmp_path / str(stop)
        with mock.patch.object(checkpoint, "EVERY", 0.0), pytest.raises(StoppedError):
            trained(data, path, stop, **options)
        same(straight, trained(data, path, **options)[0])


def test_a_resumed_training_copies_no_more(data: Interactions, tmp_path: Path) -> None:
    """What it read is on the CPU; the next best epoch is not."""
    with mock.patch.object(checkpoint, "EVERY", 0.0), pytest.raises(StoppedError):
        trained(data, tmp_path / "checkpoint", stop=2)
    found, copied = trained(data, tmp_path / "checkpoint")
    assert found.resumed
    assert found.best_epoch == EPOCHS
    assert np.diff(copied).max() < EMBEDDINGS / 4


def test_the_best_is_not_changed_by_further_training(data: Interactions) -> None:
    """Without a bias the embeddings are the parameters themselves."""
    config = bpr.Config(dim=8, item_bias=False)
    with FakeCuda():
        model = bpr.Model(config, World(data.train), torch.Generator().manual_seed(0))
        model.to("cuda")
        keeper, best = Kept(training.MEMORY), Trained(training.score(model), {})
        expected = best.scorer
        scorer = training.embeddings(model)
        assert isinstance(scorer, DeviceFactors)
        keeper.scorer(best, scorer)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(1)
        keeper.fetch(best)
        np.testing.assert_array_equal(best.scorer.users, expected.users)
        np.testing.assert_array_equal(best.scorer.items, expected.items)
        assert best.scorer.device == expected.device == "cuda:0"


def test_on_the_cpu_it_is_the_same(data: Interactions) -> None:
    chosen = TrainOptions(epochs=EPOCHS, lr=0.01)
    model = bpr.Model(bpr.Config(dim=DIM), World(data.train), torch.Generator().manual_seed(0))
    same(train(model, data, chosen), trained(data)[0])


def same(one: Trained, other: Trained) -> None:
    """The same best epoch, to the bit."""
    assert (one.best_epoch, one.best) == (other.best_epoch, other.best)
    np.testing.assert_array_equal(one.scorer.users, other.scorer.users)
    np.testing.assert_array_equal(one.scorer.items, other.scorer.items)
    assert one.state.keys() == other.state.keys()
    for name, value in one.state.items():
        assert torch.equal(value, other.state[name])
