"""Ids of Parquet: every Arrow string and integer type, as written."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmx.data.dataset import load_interactions, load_items
from mmx.errors import DataError

TEXTS = [pa.string(), pa.large_string(), pa.string_view()]
WHOLE = [pa.int8(), pa.int16(), pa.int32(), pa.int64()]
NATURAL = [pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
LETTERS = st.characters(exclude_categories=("Cs",))


@st.composite
def columns(draw: st.DrawFn) -> tuple[list[str], pa.Array]:
    """What ids are written as, and a column of them in some type, in a dictionary or not."""
    kind = draw(st.sampled_from([*TEXTS, *WHOLE, *NATURAL]))
    if kind in TEXTS:
        values: st.SearchStrategy[Any] = st.text(LETTERS, min_size=1, max_size=8)
    else:
        low = -(2 ** (kind.bit_width - 1)) if kind in WHOLE else 0
        values = st.integers(low, low + 2**kind.bit_width - 1)
    ids = draw(st.lists(values, unique=True, min_size=1, max_size=12))
    column = pa.array(ids, kind)
    if kind != pa.string_view() and draw(st.booleans()):  # that pyarrow does not write
        column = pa.DictionaryArray.from_arrays(pa.array(range(len(ids)), pa.int16()), column)
    return [str(one) for one in ids], column


@given(columns())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_ids_come_as_written(tmp_path: Path, drawn: tuple[list[str], pa.Array]) -> None:
    written, column = drawn
    pq.write_table(pa.table({"item_id": column}), tmp_path / "items.parquet")
    log = pa.table({"user_id": column, "item_id": column})
    pq.write_table(log, tmp_path / "interactions.parquet")
    items = load_items(tmp_path)
    assert items.ids.to_pylist() == written
    assert items.ids.type == pa.string()
    found = load_interactions(tmp_path, items)
    assert found["user_id"].to_pylist() == found["item_id"].to_pylist() == written


def test_decimals_without_a_fraction(tmp_path: Path) -> None:
    ids = pa.array([Decimal(7), Decimal(10) ** 30], pa.decimal128(38, 0))
    pq.write_table(pa.table({"item_id": ids}), tmp_path / "items.parquet")
    assert load_items(tmp_path).ids.to_pylist() == ["7", "1" + "0" * 30]


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pa.array([1.0]), r"holds fractions \(double\)"),
        (pa.array([1.0]).dictionary_encode(), r"holds fractions \(double\)"),
        (pa.array([Decimal("1.50")]), r"holds fractions \(decimal128\(3, 2\)\)"),
        (
            pa.array([b"a", b"\xe9"]),
            r"item_id holds bytes that are not UTF-8 \(row 2, b'\\xe9'",
        ),
        (pa.array([True]), "item_id is bool"),
        (pa.array([["a"]]), "item_id is list"),
        (pa.array([0], pa.date32()), "item_id is date32"),
        (pa.nulls(2), "2 rows have no item_id"),
    ],
)
def test_no_ids(tmp_path: Path, column: pa.Array, said: str) -> None:
    pq.write_table(pa.table({"item_id": column}), tmp_path / "items.parquet")
    with pytest.raises(DataError, match=said):
        load_items(tmp_path)


def test_texts_that_are_none(tmp_path: Path) -> None:
    pq.write_table(pa.table({"item_id": ["a"], "text": [["a"]]}), tmp_path / "items.parquet")
    with pytest.raises(DataError, match=r"text is list<.*text is expected"):
        load_items(tmp_path)
