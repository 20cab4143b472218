"""Every recommender computes on a GPU what it computes on the CPU, and trains there."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from mmx.recommend.evaluation import evaluate_scorer
from mmx.recommend.models import MODELS
from mmx.recommend.options import TrainOptions
from mmx.recommend.protocol import GradientModel
from mmx.recommend.scoring import Factors
from mmx.recommend.training import embeddings, train
from tests.devices.small_models import DATA, TRAINED, made
from tests.gpu import GPU
from tests.recommend.odd_worlds import WORLDS, check, fitted, taken_by

pytestmark = GPU
BATCH = 32


def batch() -> tuple[torch.Tensor, ...]:
    pairs = DATA.train
    rows = np.random.default_rng(0).integers(0, len(pairs.indices), (2, BATCH))
    return tuple(map(torch.from_numpy, (pairs.users[rows[0]], *pairs.indices[rows])))


def loss_and_gradients(model: GradientModel, device: str, seed: int) -> dict[str, torch.Tensor]:
    """The seed is of what an epoch and a loss draw."""
    torch.manual_seed(seed)
    model = copy.deepcopy(model).to(device).train()
    model.epoch_start(torch.Generator(device).manual_seed(seed))
    loss = model.loss(
        *(part.to(device) for part in batch()), *(batch() if model.reads_batches else ())
    )
    loss.backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {"loss": loss.detach().cpu()} | {name: g.cpu() for name, g in found.items()}


@pytest.mark.parametrize("name", TRAINED)
def test_the_embeddings_are_those_of_the_cpu(name: str) -> None:
    model = made(name)
    here = embeddings(copy.deepcopy(model))
    there = embeddings(model.to("cuda")).on_cpu()
    assert isinstance(here, Factors)
    np.testing.assert_allclose(there.users, here.users, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(there.items, here.items, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", TRAINED)
def test_a_loss_that_draws_nothing_has_the_gradients_of_the_cpu(name: str) -> None:
    model = made(name)
    expected, other = (loss_and_gradients(model, "cpu", seed) for seed in (0, 1))
    if expected["loss"] != other["loss"]:
        pytest.skip("the loss depends on the seed")
    found = loss_and_gradients(model, "cuda", 0)
    assert found.keys() == expected.keys()
    for key, gradient in expected.items():
        torch.testing.assert_close(found[key], gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", TRAINED)
def test_it_trains(name: str, precision: str) -> None:
    chosen = TrainOptions(epochs=3, batch_size=BATCH, device="cuda", precision=precision)
    trained = train(made(name), DATA, chosen)
    assert all(math.isfinite(row["loss"]) for row in trained.history)
    assert evaluate_scorer(trained.scorer, DATA.valid, DATA.train).means["recall@20"] > 0


@pytest.mark.parametrize("world", [name for name, odd in WORLDS.items() if not odd.no_negative])
@pytest.mark.parametrize("name", TRAINED)
def test_odd_worlds(name: str, world: str) -> None:
    odd = WORLDS[world]
    for settings in taken_by(MODELS[name]):
        scorer = fitted(
            MODELS[name], replace(odd, options={**odd.options, "device": "cuda"}), settings
        )
        check(scorer, odd, settings)
