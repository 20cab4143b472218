"""The blocks of all users' lists equal sorting everything in Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmx.recommend import products, scoring
from mmx.recommend.best import keys_of, scores_of
from mmx.recommend.interactions import UserItems
from mmx.recommend.products import best_products, lengths_of, searched_products
from mmx.recommend.scoring import Factors, rank
from tests.recommend.ranked import check, excluded
from tests.recommend.slow import slow_rank


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 90)),
    k=st.integers(1, 95),
    share=st.sampled_from([0.0, 0.2, 0.7, 1.0]),
    levels=st.sampled_from([1, 2, 5]),
    some=st.booleans(),
    many=st.sampled_from([1, 1000]),  # in blocks, and by one search
    sizes=st.sampled_from([(16, 16, 16), (32, 16, 32), (48, 32, 512), (2048, 1024, 512)]),
)
def test_it_equals_sorting(
    seed: int,
    shape: tuple[int, int],
    k: int,
    share: float,
    levels: int,
    some: bool,
    many: int,
    sizes: tuple[int, int, int],
) -> None:
    """Scores of few whole numbers: nearly everything ties, and products are exact."""
    rng, (n_users, n_items) = np.random.default_rng(seed), shape
    left = rng.integers(-levels, levels + 1, (n_users, 2)).astype(np.float32)
    right = rng.integers(-levels, levels + 1, (n_items, 2)).astype(np.float32)
    right[rng.random(n_items) < 0.3] *= 100  # some lengths tower above others
    scores = left @ right.T
    scores[~left.any(1)], scores[:, ~right.any(1)] = -np.inf, -np.inf
    exclude = excluded(share, n_users, n_items, rng)
    allowed = rng.random(n_items) < 0.5 if some else None
    users = rng.integers(0, n_users, 40)  # repeated and unordered
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "MANY", many)
        patch.setattr(scoring, "WIDE", 0)  # also of K near the number of items
        patch.setattr(products, "WIDE", 1)
        for name, size in zip(("BLOCK", "PART", "USERS"), sizes, strict=True):
            patch.setattr(products, name, size)
        found = rank(Factors(left, right), users, k, exclude, allowed)
    check(found, slow_rank(scores, users, k, exclude, allowed), scores, users)


def drawn(n: int, m: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    lengths = rng.random((m, 1), dtype=np.float32) ** 3
    users = rng.standard_normal((n, d), dtype=np.float32)
    return users, rng.standard_normal((m, d), dtype=np.float32) * lengths


@pytest.mark.parametrize("many", [1, 1000])
@pytest.mark.parametrize("share", [0.1, 0.8])
def test_it_equals_the_products_in_float64(
    many: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where most of the best are hidden, and say nothing of how good the others are."""
    monkeypatch.setattr(scoring, "MANY", many)
    left, right = drawn(70, 9000, 24)
    exclude = excluded(share, 70, 9000, np.random.default_rng(1))
    found = rank(Factors(left, right), np.arange(70), 20, exclude)
    scores = left.astype(np.float64) @ right.T.astype(np.float64)
    scores[exclude.users, exclude.indices] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :20]
    np.testing.assert_array_equal(found.items, best)
    exact = np.take_along_axis(scores, best, 1)
    np.testing.assert_allclose(found.scores, exact, rtol=1e-5)


@pytest.mark.parametrize("k", [1, 12, 40])
def test_equal_vectors_rank_by_number_wherever_they_are(k: int) -> None:
    """A product must not depend on the place in a block: 500 vectors, each of them eight times."""
    left, right = drawn(333, 500, 33)
    right = np.tile(right, (8, 1))[np.random.default_rng(2).permutation(4000)]
    pool, hidden = np.arange(4000), excluded_none(333, 4000)
    items, scores = best_products(left, right, pool, k, hidden)
    searched = searched_products(left, right, lengths_of(right), pool, k, hidden)
    np.testing.assert_array_equal(searched[0], items)
    for found, values in zip(items, scores, strict=True):
        for score in np.unique(values):
            same = (right == right[found[values == score][0]]).all(axis=1)
            expected = np.flatnonzero(same)[: (values == score).sum()]
            assert found[values == score].tolist() == expected.tolist()
            assert score == values[-1] or len(expected) == 8


def excluded_none(users: int, items: int) -> UserItems:
    return UserItems(np.zeros(users + 1, np.int64), np.zeros(0, np.int64), items)


def test_users_together_get_what_each_gets_alone() -> None:
    """In spite of equal vectors, and of users of whom much more is hidden than of others."""
    left, right = drawn(100, 3000, 33)
    right[1500:] = right[np.random.default_rng(3).permutation(1500)]
    share = np.where(np.arange(100) % 10, 0.001, 0.6)[:, None]
    hidden = UserItems.from_pairs(
        *np.nonzero(np.random.default_rng(4).random((100, 3000)) < share), 100, 3000
    )
    left[7] = 0
    factors, allowed = Factors(left, right), np.arange(3000) % 7 > 0
    for may in (None, allowed):
        together = rank(factors, np.arange(100), 20, hidden, may)
        alone = [rank(factors, np.array([one]), 20, hidden, may) for one in range(100)]
        np.testing.assert_array_equal(together.items, np.concatenate([one.items for one in alone]))
        scores = np.concatenate([one.scores for one in alone])
        np.testing.assert_allclose(together.scores, scores, atol=1e-5)


def test_blocks_of_short_vectors_are_not_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = drawn(64, 20_000, 16)
    seen: list[int] = []
    multiply = products.ItemBlock._multiply

    def noted(self: products.ItemBlock, users: np.ndarray, scores: np.ndarray) -> np.ndarray:
        seen.append(scores.size)
        return multiply(self, users, scores)

    monkeypatch.setattr(products.ItemBlock, "_multiply", noted)
    best_products(left, right, np.arange(20_000), 10, excluded_none(64, 20_000))
    assert 0 < sum(seen) < 64 * 20_000 / 2


def test_memory_does_not_grow_with_the_products() -> None:
    import tracemalloc

    left, right = drawn(600, 30_000, 8)
    tracemalloc.start()
    best_products(left, right, np.arange(30_000), 10, excluded_none(600, 30_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 600 * 30_000 * 4 / 3


def test_keys_sort_as_scores_then_by_falling_item() -> None:
    scores = np.array([-np.inf, -2, -1e-40, -0.0, 0.0, 1e-40, 2, np.inf], np.float32)
    keys = keys_of(scores, np.array([1, 2, 3, 9, 4, 5, 6, 2**32 - 2]))
    assert (np.diff(keys) > 0).all()
    np.testing.assert_array_equal(scores_of(keys), scores)
    assert keys_of(scores[:1], np.array([3])) < keys_of(scores[:1], np.array([2]))
    assert keys_of(scores[3:4], np.array([4])) > keys_of(scores[4:5], np.array([9]))  # both are 0
