"""Weights of a matrix of pairs, and epochs that draw pairs by them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from mmx.processes import Processes
from mmx.recommend.interactions import Interactions, UserItems
from mmx.recommend.models import MODELS, bpr
from mmx.recommend.options import TrainOptions
from mmx.recommend.protocol import World
from mmx.recommend.sampling import NegativeSampler
from mmx.recommend.training import TrainSteps, score
from tests.recommend.short_training import log, run
from tests.recommend.weighted import TRAIN, WORLD, X


def test_the_matrix_carries_its_weights() -> None:
    def dense(m: UserItems) -> np.ndarray:
        out = np.zeros((m.n_users, m.n_items))
        out[m.users, m.indices] = m.values()
        return out

    np.testing.assert_array_equal(dense(TRAIN), X)
    np.testing.assert_array_equal(dense(TRAIN.transposed()), X.T)
    np.testing.assert_array_equal(dense(TRAIN.rows(np.array([4, 0, 4]))), X[[4, 0, 4]])
    np.testing.assert_array_equal(dense(TRAIN.widened(11))[:, :9], X)
    np.testing.assert_array_equal(dense(TRAIN | TRAIN.unweighted()), X + (X > 0))
    np.testing.assert_allclose(TRAIN.user_sums(), X.sum(1))
    np.testing.assert_allclose(TRAIN.user_sums(2), (X**2).sum(1))
    np.testing.assert_allclose(TRAIN.item_sums(), X.sum(0))
    assert TRAIN.unweighted().weights is None
    twice = UserItems.from_pairs(np.array([0, 0]), np.array([1, 1]), 2, 3, np.array([2.0, 0.5]))
    assert dense(twice).tolist() == [[0, 2.5, 0], [0, 0, 0]]


def table(weight: list[Any]) -> pa.Table:
    n = len(weight)
    ids = {"user_id": ["u"] * n, "item_id": [f"i{k}" for k in range(n)]}
    return pa.table({**ids, "split": ["train"] * n, "weight": weight})


@pytest.mark.parametrize("bad", [[1.0, None], [1.0, float("nan")], [0.0, 1.0], [1.0, -2.0]])
def test_a_damaged_weight_is_refused(bad: list[Any]) -> None:
    with pytest.raises(ValueError, match="weight"):
        Interactions.from_table(table(bad), pa.array(["i0", "i1"]))


def test_weights_that_are_all_1_are_none() -> None:
    assert Interactions.from_table(table([1, 1]), pa.array(["i0", "i1"])).train.weights is None
    found = Interactions.from_table(table([2, 1]), pa.array(["i0", "i1"])).train.weights
    assert found is not None
    assert found.tolist() == [2.0, 1.0]


def test_each_part_of_a_split_has_its_own() -> None:
    rows = table([1.0, 2.0, 3.0, 4.0])
    rows = rows.set_column(2, "split", pa.array(["train", "test", "fold-in", "train"]))
    data = Interactions.from_table(rows, pa.array([f"i{n}" for n in range(4)]))
    assert [part.values().tolist() for part in data.parts] == [[1, 4], [], [2], [3]]
    assert data.known.values().tolist() == [1, 3, 4]


def weighted_log(weights: np.ndarray | None = None) -> Interactions:
    data = log(users=20, items=40, each=9)
    n = len(data.train.indices)
    given = np.tile([1.0, 3.0, 10.0], n)[:n] if weights is None else weights
    return replace(data, train=replace(data.train, weights=given))


def counts_of(sampler: NegativeSampler, generator: torch.Generator) -> np.ndarray:
    found = sampler.positives(generator).numpy()
    return np.bincount(np.searchsorted(sampler.keys.numpy(), found), minlength=len(sampler.keys))


def test_an_epoch_has_each_pair_in_proportion_to_its_weight() -> None:
    train = weighted_log().train
    assert train.weights is not None
    sampler, generator = NegativeSampler(train), torch.Generator().manual_seed(0)
    expected = len(train.indices) * train.weights / train.weights.sum()
    found = np.array([counts_of(sampler, generator) for _ in range(400)])
    assert (found.sum(1) == len(train.indices)).all()
    assert (found >= np.floor(expected)).all()
    assert (found <= np.ceil(expected)).all()
    assert np.abs(found.mean(0) - expected).max() < 5 * 0.5 / 20  # 5 errors of the mean


def test_equal_weights_are_every_pair_once() -> None:
    n = len(log(users=20, items=40, each=9).train.indices)
    sampler = NegativeSampler(weighted_log(np.full(n, 0.7)).train)
    assert (counts_of(sampler, torch.Generator().manual_seed(3)) == 1).all()


def test_a_pair_of_twice_the_mean_weight_is_there_twice() -> None:
    n = len(log(users=20, items=40, each=9).train.indices)
    assert n % 3 == 0
    weights = np.where(np.arange(n) % 3 == 0, 4.0, 1.0)  # of mean 2
    found = counts_of(NegativeSampler(weighted_log(weights).train), torch.Generator())
    assert (found[weights == 4] == 2).all()
    assert (found[weights == 1] <= 1).all()


def test_the_mean_gradient_is_that_of_weighted_terms() -> None:
    """Of BPR without its regularisation: over many epochs, against Σ w/mean(w) · term / n."""
    data = weighted_log()
    weights = data.train.weights
    assert weights is not None
    users, items = torch.from_numpy(data.train.users), torch.from_numpy(data.train.indices)
    others = torch.full_like(items, 39)
    config = bpr.Config(dim=4, reg=0.0)
    model = bpr.Model(config, World(data.train), torch.Generator().manual_seed(0))

    def gradient(rows: torch.Tensor) -> torch.Tensor:
        model.zero_grad()
        model.loss(users[rows], items[rows], others[rows]).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    each = torch.stack([gradient(torch.tensor([row])) for row in range(len(users))])
    expected = (torch.from_numpy(weights / weights.mean()).float()[:, None] * each).mean(0)
    sampler, generator = NegativeSampler(data.train), torch.Generator().manual_seed(0)
    keys = torch.from_numpy(data.train.keys)
    drawn = [torch.searchsorted(keys, sampler.positives(generator)) for _ in range(100)]
    found = torch.stack([gradient(rows) for rows in drawn]).mean(0)
    plain = each.mean(0)
    assert (found - expected).norm() < 0.03 * expected.norm()
    assert (plain - expected).norm() > 0.1 * expected.norm()


def test_users_who_took_all_keep_the_others_weights() -> None:
    data = weighted_log()
    n = data.train.n_items
    whole = UserItems.from_pairs(np.zeros(n, int), np.arange(n), data.train.n_users, n)
    sampler = NegativeSampler(data.train | whole)
    left = (data.train | whole).weights
    assert left is not None
    left = left[n:]  # of all but the first user
    expected = len(left) * left / left.sum()
    found = counts_of(sampler, torch.Generator().manual_seed(0))
    assert not found[:n].any()
    assert found.sum() == len(left) == len(sampler.pairs)
    assert (found[n:] >= np.floor(expected)).all()
    assert (found[n:] <= np.ceil(expected)).all()


def test_batches_are_of_the_drawn_pairs() -> None:
    data = weighted_log()
    model = bpr.Model(bpr.Config(dim=4), World(data.train), torch.Generator())
    steps = TrainSteps(model, data, TrainOptions(batch_size=50), Processes("cpu"))
    triples = list(steps._batches())
    users, items = (torch.cat([batch[n] for batch in triples]).numpy() for n in (0, 1))
    assert len(users) == len(data.train.keys)
    found = np.bincount(np.searchsorted(data.train.keys, users * 40 + items))
    assert found.max() >= 2
    assert (found[data.train.values()[: len(found)] == 10] >= 2).all()


@pytest.mark.slow
def test_the_graphs_of_a_model_trained_in_epochs_are_of_the_pairs_alone() -> None:
    for record in MODELS.values():
        if not record.closed_form:
            module = record.load()
            found = []
            for train in (TRAIN, TRAIN.unweighted()):
                generator = torch.Generator().manual_seed(0)
                model = module.Model(module.Config(), replace(WORLD, train=train), generator)
                model.epoch_start(torch.Generator().manual_seed(0))
                found.append(score(model))
            np.testing.assert_array_equal(found[0].users, found[1].users, record.name)
            np.testing.assert_array_equal(found[0].items, found[1].items, record.name)


def test_a_killed_training_resumes_with_weights(tmp_path: Path) -> None:
    data, path = weighted_log(), tmp_path / "checkpoint"
    whole = run(data, epochs=4)
    run(data, path, epochs=2)
    again = run(data, path, epochs=4)
    np.testing.assert_array_equal(again.scorer.items, whole.scorer.items)
    other = run(replace(data, train=data.train.unweighted()), epochs=4)
    assert not np.array_equal(other.scorer.items, whole.scorer.items)
