"""Full ranking: who is measured, what competes, what counts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mmx.recommend import evaluation
from mmx.recommend.evaluation import evaluate_scorer, evaluate_splits, hit_matrix
from mmx.recommend.interactions import Interactions, UserItems
from mmx.recommend.scoring import Factors
from tests.recommend.slow import slow_metric, slow_rank

USERS, ITEMS = 6, 9


def matrix(of: dict[int, list[int]], users: int = USERS, items: int = ITEMS) -> UserItems:
    pairs = [(u, i) for u, mine in of.items() for i in mine]
    rows, columns = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return UserItems.from_pairs(rows, columns, users, items)


def by_place() -> Factors:
    """Everyone prefers item 0 to item 1 to item 2 and so on."""
    items = -np.arange(1, ITEMS + 1, dtype=np.float32)[:, None]
    return Factors(np.ones((USERS, 1), np.float32), items)


def test_by_hand() -> None:
    """User 0's list is 1, 2, 3 … without item 0; of its items 2 and 5 only 2 is in the top 3."""
    train, held = matrix({0: [0], 1: [4], 2: [1]}), matrix({0: [2, 5], 2: [0], 3: [1]})
    found = evaluate_scorer(by_place(), held, train, cutoffs=(3,))
    assert found.users.tolist() == [0, 2]  # 1 has nothing held out, 3 nothing to train on
    assert found.unscored == 1
    assert found.relevant.tolist() == [2, 1]
    assert found.items == 3
    assert found.metrics["recall@3"].tolist() == [0.5, 1.0]
    assert found.metrics["mrr@3"].tolist() == [0.5, 1.0]
    assert found.means["recall@3"] == 0.75


def test_held_out_items_of_other_splits_compete() -> None:
    """Only training items are masked, never those of validation when the test is measured."""
    train, held = matrix({0: [0]}), matrix({0: [3]})
    assert evaluate_scorer(by_place(), held, train, cutoffs=(2, 3)).means["recall@2"] == 0.0
    assert evaluate_scorer(by_place(), held, train, cutoffs=(2, 3)).means["recall@3"] == 1.0


def test_targets_count_but_all_items_compete() -> None:
    train, held = matrix({0: [8], 1: [8]}), matrix({0: [0, 3], 1: [1]})
    found = evaluate_scorer(by_place(), held, train, cutoffs=(3, 4), targets=np.arange(ITEMS) >= 2)
    assert found.users.tolist() == [0]
    assert (found.items, found.relevant.tolist()) == (1, [1])
    assert found.means["recall@3"] == 0.0  # items 0, 1, 2 stand before item 3
    assert found.means["recall@4"] == 1.0


def test_nobody_to_measure() -> None:
    found = evaluate_scorer(by_place(), matrix({}), matrix({0: [1]}), cutoffs=(3,))
    assert (len(found.users), found.items) == (0, 0)
    assert np.isnan(found.means["ndcg@3"])


@pytest.mark.parametrize("at_once", [1, 70, 4_000_000])
def test_it_equals_a_slow_evaluation(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "CELLS_AT_ONCE", at_once)
    rng = np.random.default_rng(5)
    n_users, n_items, k = 30, 60, 10
    parts = rng.choice(3, (n_users, n_items), p=[0.7, 0.2, 0.1])
    train, held = (
        UserItems.from_pairs(*np.nonzero(parts == part), n_users, n_items) for part in (1, 2)
    )
    scorer = Factors(
        rng.normal(size=(n_users, 4)).astype(np.float32),
        rng.normal(size=(n_items, 4)).astype(np.float32),
    )
    found = evaluate_scorer(scorer, held, train, cutoffs=(k,))
    scores = scorer.scores(np.arange(n_users))
    for row, user in enumerate(found.users):
        mine = np.flatnonzero(parts[user] == 2)
        (items,) = slow_rank(scores, np.array([user]), k, train, None)
        hits = [item in mine for item in items]
        assert any(hits) or found.metrics[f"hitrate@{k}"][row] == 0
        for name in ("recall", "ndcg", "map", "mrr", "precision", "hitrate"):
            expected = slow_metric(name, hits, len(mine), k)
            assert found.metrics[f"{name}@{k}"][row] == pytest.approx(expected)
    assert len(found.users) > 20


def test_no_item_is_never_a_hit() -> None:
    ranked = np.array([[3, -1], [-1, -1]])
    hits = hit_matrix(ranked, np.array([1, 0]), matrix({0: [8], 1: [3]}))
    assert hits.tolist() == [[True, False], [False, False]]


def test_a_run_is_measured_on_both_splits() -> None:
    rows = [("u", "a", "train"), ("u", "b", "valid"), ("u", "c", "test")]
    users, items, split = zip(*rows, strict=True)
    table = pa.table({"user_id": users, "item_id": items, "split": split})
    data = Interactions.from_table(table, pa.array(["a", "b", "c"]))
    scorer = Factors(np.ones((1, 1), np.float32), np.array([[3.0], [2.0], [1.0]], np.float32))
    found = evaluate_splits(scorer, data)
    assert found["valid"].metrics["mrr@5"].tolist() == [1.0]
    assert found["test"].metrics["mrr@5"].tolist() == [0.5]
