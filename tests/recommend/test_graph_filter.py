"""GF-CF equals its formula in float64, with the singular vectors of a dense decomposition."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mmx.errors import OptionError, RunError
from mmx.recommend import memory
from mmx.recommend.blocks.singular import right_singular_vectors
from mmx.recommend.interactions import UserItems
from mmx.recommend.models import graph_filter
from tests.recommend.closed import scores_of, summed, weights_of
from tests.recommend.toy import N_ITEMS, N_USERS, TAKEN, toy_train, toy_world

TAKERS = [sum(i in items for items in TAKEN.values()) for i in range(N_ITEMS)]


def slow(rank: int, ideal: float) -> np.ndarray:
    """W: R̃ᵀR̃ + α D^-½ V Vᵀ D^½, item by item."""
    r = np.zeros((N_USERS, N_ITEMS))
    for u, items in TAKEN.items():
        for i in items:
            r[u, i] = 1 / math.sqrt(len(items) * TAKERS[i])
    _, sizes, turned = np.linalg.svd(r)
    used = [k for k in range(min(rank, len(sizes))) if sizes[k] > 1e-9]
    w = np.zeros((N_ITEMS, N_ITEMS))
    for j in range(N_ITEMS):
        for i in range(N_ITEMS):
            w[j, i] = sum(r[u, j] * r[u, i] for u in range(N_USERS))
            if TAKERS[j]:
                smooth = sum(turned[k, j] * turned[k, i] for k in used)
                w[j, i] += ideal * smooth * math.sqrt(TAKERS[i] / TAKERS[j])
    return w


@pytest.mark.parametrize("rank", [1, 3, 256])
@pytest.mark.parametrize("ideal", [0.3, 2.0])
def test_graph_filter(rank: int, ideal: float) -> None:
    expected = slow(rank, ideal)
    found = weights_of("graph-filter", toy_world(), rank=rank, ideal=ideal)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    scores = scores_of("graph-filter", toy_world(), rank=rank, ideal=ideal)
    np.testing.assert_allclose(scores, summed(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("off", [{"rank": 0}, {"ideal": 0.0}])
def test_without_the_ideal_filter_it_is_the_linear_one(off: dict[str, float]) -> None:
    found = weights_of("graph-filter", toy_world(), **off)
    np.testing.assert_allclose(found, slow(0, 0.0), rtol=1e-5, atol=1e-7)


def test_keep_makes_no_dense_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_there", lambda: 8 * N_ITEMS**2 - 1)
    monkeypatch.setattr("mmx.recommend.models.graph_filter.right_singular_vectors", lambda *a: None)
    with pytest.raises(RunError, match="--set keep"):
        graph_filter.fit(graph_filter.Config(), toy_world())


def test_keep_keeps_the_largest() -> None:
    whole = weights_of("graph-filter", toy_world())
    found = weights_of("graph-filter", toy_world(), keep=2)
    for row in range(N_ITEMS):
        best = np.argsort(-np.abs(whole[row]), kind="stable")[:2]
        np.testing.assert_allclose(found[row, best], whole[row, best])
        assert np.count_nonzero(found[row]) <= 2


@pytest.mark.parametrize("shape", [(60, 45), (45, 60)])
@pytest.mark.parametrize("count", [5, 30, 100])
def test_singular_vectors(shape: tuple[int, int], count: int) -> None:
    """A few by Lanczos, many by a Gram matrix; the same each time."""
    rng = np.random.default_rng(1)
    train = UserItems.from_pairs(*np.nonzero(rng.random(shape) < 0.3), *shape)
    values = rng.random(len(train.indices))
    dense = np.zeros(shape)
    dense[train.users, train.indices] = values
    found = right_singular_vectors(train, values, count)
    expected = np.linalg.svd(dense)[2][: min(count, *shape)].T
    assert found.shape == expected.shape
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-8)
    np.testing.assert_array_equal(found, right_singular_vectors(train, values, count))


def test_vectors_of_no_length_are_left_out() -> None:
    train = toy_train()
    found = right_singular_vectors(train, np.ones(len(train.indices)), 9)
    dense = np.array([[float(i in TAKEN[u]) for i in range(N_ITEMS)] for u in range(N_USERS)])
    assert found.shape == (N_ITEMS, np.linalg.matrix_rank(dense))


def test_too_many_singular_vectors_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_there", lambda: 24 * N_USERS**2 - 1)
    with pytest.raises(RunError, match=r"--set rank=256 .*lower it"):
        right_singular_vectors(toy_train(), np.ones(len(toy_train().indices)), 256)


@pytest.mark.parametrize("bad", [{"rank": -1}, {"ideal": -0.1}, {"keep": -1}])
def test_settings_are_checked(bad: dict[str, float]) -> None:
    with pytest.raises(OptionError):
        graph_filter.Config(**bad)  # type: ignore[arg-type]
