"""The arbitrary order of ids by a keyed hash."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmx.data import id_order
from mmx.data.id_order import hash_order, hashes, pair_hashes, reordered

some_ids = st.lists(st.text(max_size=8), max_size=30, unique=True)


def test_the_hash_is_the_same_for_ever() -> None:
    """Splits and ties of old results hang on these numbers."""
    ids = pa.array(["a", "b", "007", "Größe", ""])
    assert hashes(ids).tolist() == [
        1476484591048093314,
        17452282848020163316,
        14185018029109280228,
        12660688458071467109,
        7218554834331689347,
    ]
    assert hash_order(ids).tolist() == [0, 4, 3, 2, 1]
    pairs = pair_hashes(hashes(ids), hashes(ids, 3))
    assert pairs[:2].tolist() == [861302277823750269, 7320715177904840103]


@given(some_ids, st.integers(0, 9))
def test_it_is_blake2b_of_the_text_keyed_by_the_seed(ids: list[str], seed: int) -> None:
    found = hashes(pa.array(ids, pa.string()), seed)
    assert found.dtype == np.uint64
    for value, each in zip(found.tolist(), ids, strict=True):
        digest = hashlib.blake2b(each.encode(), digest_size=8, key=str(seed).encode()).digest()
        assert value == int.from_bytes(digest, "little")


@given(some_ids, st.randoms())
def test_the_order_does_not_hang_on_where_an_id_stood(ids: list[str], random: object) -> None:
    other = ids.copy()
    random.shuffle(other)  # type: ignore[attr-defined]
    orders = [
        pa.array(them, pa.string()).take(pa.array(hash_order(pa.array(them, pa.string()))))
        for them in (ids, other)
    ]
    assert orders[0].equals(orders[1])


def test_the_order_says_nothing_of_the_number_in_an_id() -> None:
    order = hash_order(pa.array([f"i{n}" for n in range(2000)]))
    assert abs(np.corrcoef(order, np.arange(2000))[0, 1]) < 0.05
    assert sorted(order.tolist()) == list(range(2000))


def test_pairs_do_not_swap_and_differ() -> None:
    left, right = np.divmod(np.arange(10_000, dtype=np.uint64), np.uint64(100))
    found = pair_hashes(left, right)
    assert len(np.unique(found)) == 10_000
    assert (found != pair_hashes(right, left)).mean() > 0.98
    bits = np.unpackbits(found.view(np.uint8)).mean()
    assert 0.49 < bits < 0.51


@pytest.mark.parametrize("overflow", [1, 2**31 - 1])
def test_reordered_rows(overflow: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts too long for one string column become large ones, which say the same."""
    monkeypatch.setattr(id_order, "OVERFLOW", overflow)
    table = pa.table({"a": ["x", None, "z"], "b": [b"1", b"2", b"3"], "n": [1, 2, 3]})
    found = reordered(table, np.array([2, 0, 1]))
    assert found.to_pylist() == [table.to_pylist()[n] for n in (2, 0, 1)]
    assert pa.types.is_large_string(found.schema.field("a").type) == (overflow == 1)
