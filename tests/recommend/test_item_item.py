"""Item-item scores against loops; dense and sparse; a newcomer like a known user."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmx.recommend.blocks import item_item
from mmx.recommend.blocks.item_item import ItemItem, SparseRows, co_occurrences, kept, sum_of_rows
from mmx.recommend.interactions import UserItems
from mmx.recommend.models.ease import sparser
from mmx.recommend.scoring import rank
from mmx.recommend.serialize import numbers_in
from tests.recommend.toy import N_ITEMS, N_USERS, TAKEN, toy_train


def weights(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(N_ITEMS, N_ITEMS)).astype(np.float32)


def slow_scores(w: np.ndarray, histories: dict[int, list[int]]) -> np.ndarray:
    scores = np.zeros((len(histories), N_ITEMS))
    for row, items in enumerate(histories.values()):
        for j in items:
            for i in range(N_ITEMS):
                scores[row, i] += float(w[j, i])
    return scores


def as_dense(rows: SparseRows) -> np.ndarray:
    out = np.zeros((len(rows.indptr) - 1, rows.n_columns), dtype=np.float32)
    for row in range(len(out)):
        for place in range(rows.indptr[row], rows.indptr[row + 1]):
            out[row, rows.indices[place]] = rows.values[place]
    return out


@pytest.fixture(params=["dense", "sparse"])
def scorer(request: pytest.FixtureRequest) -> ItemItem:
    w = weights()
    return ItemItem(w if request.param == "dense" else sparser(w, N_ITEMS), toy_train())


def test_scores_are_sums_over_the_history(scorer: ItemItem) -> None:
    expected = slow_scores(weights(), TAKEN)
    np.testing.assert_allclose(scorer.scores(np.arange(N_USERS)), expected, rtol=1e-5, atol=1e-6)


def test_one_user_equals_a_batch_to_the_bit(scorer: ItemItem) -> None:
    whole = scorer.scores(np.arange(N_USERS))
    for user in (5, 0, 2):
        np.testing.assert_array_equal(scorer.scores(np.array([user]))[0], whole[user])
    np.testing.assert_array_equal(scorer.scores(np.array([4, 4, 1])), whole[[4, 4, 1]])


def test_a_newcomer_with_an_old_users_items_scores_like_them(scorer: ItemItem) -> None:
    new = UserItems.from_pairs(np.array([1, 1, 1]), np.array(TAKEN[1]), 3, N_ITEMS)
    scores = scorer.scores_of(new)
    np.testing.assert_array_equal(scores[1], scorer.scores(np.array([1]))[0])
    assert np.isneginf(scores[[0, 2]]).all()  # without items there is nothing to go by
    np.testing.assert_array_equal(scorer.of(new).scores(np.array([1]))[0], scores[1])


def test_the_sparse_sum_is_the_same_in_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = sparser(weights(), 4)
    whole = sum_of_rows(toy_train(), rows)
    assert whole.any()
    for size in (1, 5, 30):
        monkeypatch.setattr(item_item, "TERMS_AT_ONCE", size)
        np.testing.assert_array_equal(sum_of_rows(toy_train(), rows), whole)


@pytest.mark.parametrize("columns", [1, 3, 64, 300])
@pytest.mark.parametrize("lengths", [[0, 3, 1, 0, 9], [0, 0], [2] * 70, [500, 1, 4]])
def test_the_dense_sum_is_that_of_torch_to_the_bit(columns: int, lengths: list[int]) -> None:
    """Runs keep metrics that were measured with it."""
    rng = np.random.default_rng(columns)
    w = rng.normal(size=(600, columns)).astype(np.float32)
    w[::7] = -0.0
    rows = [np.sort(rng.choice(600, length, replace=False)) for length in lengths]
    indices = np.concatenate(rows).astype(np.int64)
    which = UserItems(np.concatenate([[0], np.cumsum(lengths)]), indices, 600)
    bags = (torch.from_numpy(indices), torch.from_numpy(w), torch.from_numpy(which.indptr[:-1]))
    expected = F.embedding_bag(*bags, mode="sum").numpy()
    assert sum_of_rows(which, w).tobytes() == expected.tobytes()


def test_ranking_over_it_is_ordinary_ranking(scorer: ItemItem) -> None:
    found = rank(scorer, np.arange(N_USERS), 3, toy_train())
    scores = slow_scores(weights(), TAKEN)
    for user, items in TAKEN.items():
        others = [i for i in range(N_ITEMS) if i not in items]
        assert found.items[user].tolist() == sorted(others, key=lambda i: -scores[user, i])[:3]


@pytest.mark.parametrize("block", [1, 4, 100])
def test_co_occurrences(block: int) -> None:
    found = np.zeros((N_ITEMS, N_ITEMS))
    for rows, both in co_occurrences(toy_train(), block):
        found[rows] = both
    for i in range(N_ITEMS):
        for j in range(N_ITEMS):
            assert found[i, j] == sum(i in items and j in items for items in TAKEN.values())


def test_kept_are_the_best_and_of_equal_ones_the_first() -> None:
    block = np.array([[0.5, 0.0, 2.0, 0.5, 0.5], [0.0, 0.0, 0.0, 0.0, 0.0]], dtype=np.float32)
    assert as_dense(kept(block, 2)).tolist() == [[0.5, 0, 2, 0, 0], [0] * 5]
    assert as_dense(kept(block, 9)).tolist() == block.tolist()
    assert len(kept(block, 9).values) == 4  # zeros take no room


def test_sparser_keeps_what_is_largest_in_size() -> None:
    w = weights()
    found = as_dense(sparser(w, 3))
    for row in range(N_ITEMS):
        best = np.argsort(-np.abs(w[row]))[:3]
        assert set(np.flatnonzero(found[row])) == set(best)
        np.testing.assert_array_equal(found[row, best], w[row, best])


def test_the_numbers_of_a_scorer_are_its_fractions() -> None:
    """Which item a weight is of is no number that was found."""
    train, w = toy_train(), np.zeros((N_ITEMS, N_ITEMS), np.float32)
    w[0, [3, 5]] = w[4, 1] = 1
    assert numbers_in(ItemItem(w, train)) == N_ITEMS**2
    assert numbers_in(ItemItem(sparser(w, N_ITEMS), train)) == 3
