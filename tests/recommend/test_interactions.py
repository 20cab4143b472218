"""The user-item matrix against plain Python sets."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmx.errors import UnknownIdError
from mmx.recommend import interactions
from mmx.recommend.interactions import Interactions, UserItems

USERS, ITEMS = 5, 8
pairs = st.lists(st.tuples(st.integers(0, USERS - 1), st.integers(0, ITEMS - 1)), max_size=40)


def matrix(of: list[tuple[int, int]]) -> UserItems:
    users, items = np.array(of, dtype=np.int64).reshape(-1, 2).T
    return UserItems.from_pairs(users, items, USERS, ITEMS)


def as_set(of: UserItems) -> set[tuple[int, int]]:
    return set(zip(of.users.tolist(), of.indices.tolist(), strict=True))


@given(pairs)
def test_it_holds_the_pairs_once_and_in_order(of: list[tuple[int, int]]) -> None:
    made = matrix(of)
    assert list(zip(made.users.tolist(), made.indices.tolist(), strict=True)) == sorted(set(of))
    assert made.counts.tolist() == [sum(u == user for u, _ in set(of)) for user in range(USERS)]
    assert made.item_counts.tolist() == [sum(i == n for _, i in set(of)) for n in range(ITEMS)]
    assert (made.n_users, made.n_items) == (USERS, ITEMS)
    assert (np.diff(made.keys) > 0).all()


@given(pairs, st.lists(st.integers(-1, ITEMS - 1), min_size=USERS, max_size=USERS))
def test_found_in_looks_up_columns(of: list[tuple[int, int]], column: list[int]) -> None:
    items = np.stack([np.array(column), np.arange(USERS)], axis=1)
    expected = [[(user, item) in set(of) for item in row] for user, row in enumerate(items)]
    assert matrix(of).found_in(items).tolist() == expected


def test_found_in_is_the_same_in_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    made = matrix([(int(u), int(i)) for u, i in rng.integers(0, (USERS, ITEMS), (25, 2))])
    items = rng.integers(-1, ITEMS, (USERS, 3))
    whole = made.found_in(items)
    monkeypatch.setattr(interactions, "PAIRS_COMPARED", 4)
    np.testing.assert_array_equal(made.found_in(items), whole)
    assert whole.any()


@given(pairs, st.lists(st.integers(0, USERS - 1), max_size=7))
def test_rows_come_in_the_order_given_and_may_repeat(
    of: list[tuple[int, int]], users: list[int]
) -> None:
    rows = matrix(of).rows(np.array(users, dtype=np.int64))
    expected = {(n, i) for n, user in enumerate(users) for u, i in of if u == user}
    assert (as_set(rows), rows.n_users) == (expected, len(users))


@given(pairs, pairs)
def test_union(left: list[tuple[int, int]], right: list[tuple[int, int]]) -> None:
    assert as_set(matrix(left) | matrix(right)) == set(left) | set(right)


@given(pairs)
def test_transposed(of: list[tuple[int, int]]) -> None:
    turned = matrix(of).transposed()
    assert as_set(turned) == {(i, u) for u, i in of}
    assert (turned.n_users, turned.n_items) == (ITEMS, USERS)


def test_weights_stay_with_their_pairs() -> None:
    pairs, weights = np.array([(0, 3), (2, 1), (0, 3), (2, 0)]).T, np.array([1.0, 2.0, 4.0, 8.0])
    made = UserItems.from_pairs(*pairs, USERS, ITEMS, weights)
    assert made.values().tolist() == [5, 8, 2]  # of (0, 3) twice, (2, 0) and (2, 1)
    assert made.user_sums().tolist() == [5, 0, 10, 0, 0]
    assert made.user_sums(2).tolist() == [25, 0, 68, 0, 0]
    assert made.item_sums().tolist() == [8, 2, 0, 5, 0, 0, 0, 0]
    assert made.widened(20).values().tolist() == [5, 8, 2]
    assert made.transposed().values().tolist() == [8, 2, 5]
    assert made.rows(np.array([2, 0, 2])).values().tolist() == [8, 2, 5, 8, 2]
    plain = UserItems.from_pairs(np.array([0, 1]), np.array([3, 3]), USERS, ITEMS)
    for both in (made | plain, plain | made):
        assert both.values().tolist() == [6, 1, 8, 2]
    assert (plain | plain).weights is None


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf"), None])
def test_a_weight_is_a_number_above_0(weight: float | None) -> None:
    rows = table([("a", "x", "train"), ("a", "y", "train")])
    rows = rows.append_column("weight", pa.array([2.0, weight]))
    with pytest.raises(ValueError, match="some weight is not a number above 0"):
        Interactions.from_table(rows, pa.array(["x", "y"]))


def table(rows: list[tuple[str, str, str]]) -> pa.Table:
    users, items, split = zip(*rows, strict=True)
    return pa.table({"user_id": users, "item_id": items, "split": split})


def test_a_table_becomes_three_matrices_under_one_numbering() -> None:
    rows = [("b", "y", "train"), ("a", "x", "test"), ("b", "x", "valid"), ("a", "z", "train")]
    data = Interactions.from_table(table(rows), pa.array(["z", "x", "never", "y"]))
    assert data.users.ids.to_pylist() == ["a", "b"]
    assert as_set(data.train) == {(1, 3), (0, 0)}
    assert as_set(data.valid) == {(1, 1)}
    assert as_set(data.test) == {(0, 1)}
    assert as_set(data.seen) == {(1, 3), (0, 0), (1, 1), (0, 1)}
    assert data.train.item_counts.tolist() == [1, 0, 0, 1]


def test_users_can_be_numbered_from_outside() -> None:
    data = Interactions.from_table(
        table([("b", "x", "train")]), pa.array(["x"]), pa.array(["a", "b", "c"])
    )
    assert (data.train.n_users, as_set(data.train)) == (3, {(1, 0)})


def test_an_item_outside_the_catalogue_is_refused() -> None:
    with pytest.raises(UnknownIdError, match="unknown item: q"):
        Interactions.from_table(table([("a", "q", "train")]), pa.array(["x"]))
