"""A training step is handed to the GPU whole: it waits for nothing, and the CPU draws nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest import mock

import pytest
import torch

from mmx.processes import Processes
from mmx.recommend.blocks import at_once, content, graph, losses, sampled_softmax
from mmx.recommend.interactions import Interactions
from mmx.recommend.models import MODELS
from mmx.recommend.options import TrainOptions
from mmx.recommend.protocol import GradientModel
from mmx.recommend.training import TrainSteps, train
from tests.devices.fake_cuda import FakeCuda
from tests.devices.small_models import DATA, TRAINED, made
from tests.recommend.fake_catalogue import build
from tests.recommend.toy import toy_data

STEPS, EPOCHS = 3, 2
CALLS = (STEPS + 1) * EPOCHS  # of the loss: the first step of an epoch is mirrored
JOINT = [name for name in TRAINED if MODELS[name].end_to_end]
BLOCKS = [
    (graph, "NUMBERS_AT_ONCE"), (losses, "ENTRIES_AT_ONCE"), (content, "BLOCK_BYTES"),
    (sampled_softmax, "NUMBERS_AT_ONCE"),
]  # fmt: skip
PLANTED: dict[str, Callable[[torch.Tensor, torch.Tensor], object]] = {  # of users and their loss
    "if a loss is finite": lambda users, loss: loss.isfinite() or 1 / 0,
    "a mask": lambda users, loss: users[users > 0],
    "a copy": lambda users, loss: users.cpu(),
}
ON_CPU = {"alpharec"}  # whose steps draw there


def waits(model: GradientModel, data: Interactions, planted: str = "a copy") -> list[int]:
    """How often each step of a training waits; the loss of the last one does so once more."""
    found, step, inner, calls = [], TrainSteps._step, model.loss, []

    def watched(self: TrainSteps, batch: tuple[torch.Tensor, ...], number: int) -> torch.Tensor:
        before = len(gpu.waits)
        loss = step(self, batch, number)
        found.append(len(gpu.waits) - before)
        return loss

    def loss(*batch: torch.Tensor) -> torch.Tensor:
        calls.append(inner(*batch))
        if len(calls) == CALLS:
            PLANTED[planted](batch[0], calls[-1])
        return calls[-1]

    with (
        FakeCuda() as gpu,
        mock.patch.object(TrainSteps, "_step", watched),
        mock.patch.object(model, "loss", loss),
    ):
        chosen = TrainOptions(
            epochs=EPOCHS, batch_size=-(-len(data.train.indices) // STEPS), device="cuda",
            mirror_gradient=0.1, mirror_every=STEPS, clip=1.0,
        )  # fmt: skip
        train(model, data, chosen)
    assert gpu.mixed == []
    assert len(calls) == CALLS
    return found


@pytest.mark.parametrize("name", TRAINED)
def test_a_step_waits_for_nothing(name: str) -> None:
    """But for what is planted."""
    assert waits(made(name), DATA) == [0] * (STEPS * EPOCHS - 1) + [1]


@pytest.mark.parametrize(("name", "chunk"), [*((name, 2) for name in JOINT), ("vbpr", 64)])
def test_no_more_does_one_that_trains_its_encoder(name: str, chunk: int) -> None:
    """Of a batch in several chunks, or in one."""
    model, _ = build(name, chunk=chunk)
    assert waits(model, toy_data()) == [0] * (STEPS * EPOCHS - 1) + [1]


@pytest.mark.parametrize("planted", PLANTED)
def test_what_waits_is_seen(planted: str) -> None:
    assert waits(made("bpr"), DATA, planted) == [0] * (STEPS * EPOCHS - 1) + [1]


class Counting(FakeCuda):
    """A pretended GPU that counts what it is given."""

    count = 0

    def __torch_dispatch__(self, *given: Any) -> Any:
        self.count += 1
        return super().__torch_dispatch__(*given)


def cpu_draws(model: GradientModel, data: Interactions) -> list[str]:
    """What the CPU draws in an epoch on a GPU."""
    with FakeCuda() as gpu:
        chosen = TrainOptions(device="cuda", batch_size=64)
        steps = TrainSteps(model, data, chosen, Processes("cuda"))
        before = len(gpu.drawn)
        steps.epoch()
        assert gpu.mixed == []
        return gpu.drawn[before:]


@pytest.mark.parametrize("name", TRAINED)
def test_the_gpu_draws(name: str) -> None:
    assert bool(cpu_draws(made(name), DATA)) == (name in ON_CPU)


def test_the_gpu_draws_for_one_that_trains_its_encoder() -> None:
    model, _ = build("bm3", chunk=2)
    assert cpu_draws(model, toy_data()) == []


def test_what_the_cpu_draws_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """From a generator that did not move, and from none."""
    model = made("mentor")
    monkeypatch.setattr(model, "draw_on", lambda device: None)
    assert cpu_draws(model, DATA)
    other = made("bpr")
    monkeypatch.setattr(other, "epoch_start", lambda generator: torch.rand(3).to("cuda"))
    assert len(cpu_draws(other, DATA)) == 1


def test_a_generator_moves_with_its_seed() -> None:
    """And stays what it is where the model stays."""
    model = made("mentor")
    assert model.generator is not None
    own, seed = model.generator, model.generator.initial_seed()
    model.draw_on(torch.device("cpu"))
    assert model.generator is own
    with FakeCuda():
        model.draw_on(torch.device("cuda"))
    assert model.generator is not own
    assert model.generator.initial_seed() == seed


def operations(name: str, blocks: int) -> int:
    """Those of an epoch on a GPU, where a block of the CPU's has so many numbers."""
    with ExitStack() as patches, Counting() as gpu:
        for owner, block in BLOCKS:
            patches.enter_context(mock.patch.object(owner, block, blocks))
        chosen = TrainOptions(device="cuda", batch_size=64)
        steps = TrainSteps(made(name), DATA, chosen, Processes("cuda"))
        before = gpu.count
        steps.epoch()
        return gpu.count - before


@pytest.mark.parametrize("name", TRAINED)
def test_blocks_that_fit_a_cache_are_not_for_a_gpu(name: str) -> None:
    assert operations(name, blocks=8) == operations(name, blocks=1 << 30)


def test_small_blocks_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_once, "ON_GPU", 8)
    assert operations("grcn", blocks=8) > 2 * operations("grcn", blocks=1 << 30)


def test_a_batch_on_the_cpu_is_the_same() -> None:
    """It is copied once an epoch, for a loss that reads it there."""
    model, seen = made("bpr"), []

    def loss(*batch: torch.Tensor) -> torch.Tensor:
        seen.append(batch)
        return inner(*batch[:3])

    inner = model.loss
    with (
        FakeCuda() as gpu,
        mock.patch.object(model, "loss", loss),
        mock.patch.object(model, "reads_batches", True),
    ):
        train(model, DATA, TrainOptions(epochs=1, batch_size=32, device="cuda"))
        assert len(seen) > 1
        for batch in seen:
            assert [x.is_cuda for x in batch] == [True] * 3 + [False] * 3
            assert all(x.tolist() == y.tolist() for x, y in zip(batch[:3], batch[3:], strict=True))
        assert gpu.mixed == []
