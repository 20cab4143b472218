"""Ranking equals sorting everything in Python, whatever path it takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmx.recommend import scoring
from mmx.recommend.interactions import UserItems
from mmx.recommend.scoring import Factors, best_of, rank
from tests.recommend.ranked import check, excluded
from tests.recommend.slow import slow_rank


@dataclass(frozen=True)
class Table:
    """A scorer that is not Factors, so that it is ranked densely."""

    values: np.ndarray

    @property
    def n_items(self) -> int:
        return self.values.shape[1]

    def scores(self, users: np.ndarray) -> np.ndarray:
        return self.values[users].copy()


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.integers(1, 7), st.integers(1, 30)),
    k=st.integers(1, 35),
    share=st.sampled_from([0.0, 0.2, 0.7, 1.0]),
    levels=st.sampled_from([1, 2, 5]),
    some=st.booleans(),
    factors=st.booleans(),
)
def test_it_equals_sorting(
    seed: int, shape: tuple[int, int], k: int, share: float, levels: int, some: bool, factors: bool
) -> None:
    """Scores of few whole numbers: nearly everything ties, and products are exact."""
    rng, (n_users, n_items) = np.random.default_rng(seed), shape
    left = rng.integers(-levels, levels + 1, (n_users, 2)).astype(np.float32)
    right = rng.integers(-levels, levels + 1, (n_items, 2)).astype(np.float32)
    scores = left @ right.T
    if factors:  # of a zero vector nothing is known
        scores[~left.any(1)], scores[:, ~right.any(1)] = -np.inf, -np.inf
    exclude = excluded(share, n_users, n_items, rng)
    allowed = rng.random(n_items) < 0.5 if some else None
    users = rng.integers(0, n_users, 6)  # repeated and unordered
    scorer = Factors(left, right) if factors else Table(scores)
    found = rank(scorer, users, k, exclude, allowed)
    check(found, slow_rank(scores, users, k, exclude, allowed), scores, users)


def world(seed: int = 0) -> tuple[Factors, UserItems, np.ndarray]:
    rng = np.random.default_rng(seed)
    factors = Factors(
        rng.normal(size=(40, 8)).astype(np.float32), rng.normal(size=(300, 8)).astype(np.float32)
    )
    return factors, excluded(0.3, 40, 300, rng), np.arange(40)


def test_search_and_dense_paths_agree() -> None:
    factors, exclude, users = world()
    dense = Table(factors.scores(users))
    searched, sorted_ = (rank(s, users, 20, exclude) for s in (factors, dense))
    np.testing.assert_array_equal(searched.items, sorted_.items)
    np.testing.assert_allclose(searched.scores, sorted_.scores, rtol=1e-5, atol=1e-6)


def test_users_with_very_much_excluded_take_the_dense_path(monkeypatch: pytest.MonkeyPatch) -> None:
    factors, exclude, users = world()
    whole = rank(factors, users, 20, exclude).items
    ranked: list[int] = []
    scores = Factors.scores

    def noted(self: Factors, users: np.ndarray) -> np.ndarray:
        ranked.extend(users.tolist())
        return scores(self, users)

    monkeypatch.setattr(Factors, "scores", noted)
    monkeypatch.setattr(scoring, "SEEN_LIMIT", 90)
    np.testing.assert_array_equal(rank(factors, users, 20, exclude).items, whole)
    assert set(ranked) == set(np.flatnonzero(exclude.counts > 90).tolist())
    assert 0 < len(ranked) < 40


def test_small_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    factors, exclude, users = world()
    for scorer in (factors, Table(factors.scores(users))):
        whole = rank(scorer, users, 7, exclude).items
        monkeypatch.setattr(scoring, "CHUNK_BYTES", 1)
        np.testing.assert_array_equal(rank(scorer, users, 7, exclude).items, whole)
        monkeypatch.undo()


def test_nothing_allowed_gives_empty_lists() -> None:
    factors, exclude, users = world()
    found = rank(factors, users, 3, exclude, np.zeros(300, dtype=bool))
    assert (found.items == -1).all()
    assert np.isneginf(found.scores).all()


def test_no_users() -> None:
    factors, exclude, _ = world()
    assert rank(factors, np.zeros(0, dtype=np.int64), 3, exclude).items.shape == (0, 3)


def test_everything_ties() -> None:
    """A popular tie across the K-th place is broken by number on both paths."""
    same = Factors(np.ones((3, 1), np.float32), np.ones((50, 1), np.float32))
    exclude = UserItems.from_pairs(np.array([0, 0, 2]), np.array([0, 3, 49]), 3, 50)
    found = rank(same, np.arange(3), 4, exclude)
    assert found.items.tolist() == [[1, 2, 4, 5], [0, 1, 2, 3], [0, 1, 2, 3]]


@pytest.mark.parametrize("share", [0, 10**6], ids=["heaps", "whole numbers"])
def test_best_of_takes_the_sign_and_both_zeros_right(
    share: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "HEAP_SHARE", share)
    scores = np.array([[-1.0, 0.0, -0.0, 2.0, -3.0, 2.0, -1.0]], dtype=np.float32)
    values, places = best_of(scores, 7)
    assert places.tolist() == [[3, 5, 1, 2, 0, 6, 4]]
    assert values.tolist() == [[2.0, 2.0, 0.0, 0.0, -1.0, -1.0, -3.0]]


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 60)),
    count=st.integers(1, 60),
    levels=st.sampled_from([2, 5, 10**6]),
    unknown=st.sampled_from([0.0, 0.5, 1.0]),
    heaps=st.booleans(),
)
def test_best_of_equals_sorting(
    seed: int, shape: tuple[int, int], count: int, levels: int, unknown: float, heaps: bool
) -> None:
    """Also where fewer than ``count`` are above -inf: the rest are places of -inf."""
    rng = np.random.default_rng(seed)
    scores = (rng.integers(-levels, levels, shape) / 7).astype(np.float32)
    scores[rng.random(shape) < unknown] = -np.inf
    count = min(count, shape[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "HEAP_SHARE", 0 if heaps else 10**6)
        patch.setattr(scoring, "KEY_BYTES", 1000)  # several blocks
        values, places = best_of(scores, count)
    for row, found in enumerate(scores):
        order = np.lexsort((np.arange(shape[1]), -found))[:count]
        np.testing.assert_array_equal(values[row], found[order])
        np.testing.assert_array_equal(found[places[row]], found[order])
        known = ~np.isneginf(found[order])
        np.testing.assert_array_equal(places[row][known], order[known])
