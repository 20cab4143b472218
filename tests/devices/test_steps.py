"""A training step is handed to the GPU whole: nothing in it waits for what the GPU computes."""

from __future__ import annotations

from collections import Counter
from unittest import mock

import pytest
import torch

from mmx.recommend.models import bpr
from mmx.recommend.options import TrainOptions
from mmx.recommend.training import TrainSteps, train
from tests.devices.fake_cuda import FakeCuda
from tests.devices.small_models import DATA, TRAINED, made

WAITS = {  # of each step
    # which users a batch has, for whom the CPU draws further negatives: of a model's own generator,
    # and only once it is known which draws hit a positive
    "alpharec": ["a copy to cpu"],
}
STEPS, EPOCHS = 3, 2


def waits(name: str) -> list[list[str]]:
    """What each step of a training waits for."""
    found, step = [], TrainSteps._step

    def watched(self: TrainSteps, batch: tuple[torch.Tensor, ...], number: int) -> torch.Tensor:
        before = len(gpu.waits)
        loss = step(self, batch, number)  # type: ignore[arg-type]
        found.append(gpu.waits[before:])
        return loss

    with FakeCuda() as gpu, mock.patch.object(TrainSteps, "_step", watched):
        chosen = TrainOptions(
            epochs=EPOCHS, batch_size=-(-len(DATA.train.indices) // STEPS), device="cuda",
            mirror_gradient=0.1, mirror_every=STEPS,
        )  # fmt: skip
        train(made(name), DATA, chosen)
    assert len(found) == STEPS * EPOCHS
    return found


@pytest.mark.parametrize("name", TRAINED)
def test_a_step_waits_for_nothing(name: str) -> None:
    """Or only for what is named above."""
    listed = WAITS.get(name, [])
    for number, lines in enumerate(waits(name)):
        steps = 1 if number % STEPS else 2  # the first of an epoch has a second one
        kinds = Counter(line.partition(" at ")[0] for line in lines)
        assert kinds == Counter(listed * steps), lines


def test_only_models_are_listed() -> None:
    assert WAITS.keys() <= set(TRAINED)


@pytest.mark.parametrize("planted", ["if a loss is finite", "a mask"])
def test_what_waits_is_seen(planted: str) -> None:
    inner = bpr.Model.loss

    def loss(self: bpr.Model, *batch: torch.Tensor) -> torch.Tensor:
        if planted == "a mask":
            batch = tuple(part[batch[0] >= 0] for part in batch)
        found = inner(self, *batch)
        assert planted == "a mask" or found < 1e9
        return found

    with mock.patch.object(bpr.Model, "loss", loss):
        for lines in waits("bpr"):
            assert any("training.py" in line for line in lines)
