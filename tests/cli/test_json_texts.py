"""Columns as JSON texts: every type, sliced as Arrow slices, numbers that read back."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn

from mmx.cli.json_texts import flat_texts, flat_type, json_texts, plain_values

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def read(column: pa.Array) -> list[Any]:
    return [json.loads(text) for text in json_texts(column).to_pylist()]


@given(st.lists(st.one_of(st.none(), FLOATS)))
def test_numbers_read_back_and_are_no_longer_than_need_be(values: list[float | None]) -> None:
    column = pa.array(values, pa.float32())
    assert read(column) == pytest.approx(values, nan_ok=True) or None in values
    for text, value in zip(json_texts(column).to_pylist(), values, strict=True):
        assert text == "null" if value is None else np.float32(text) == np.float32(value)
        shortest = len(
            np.format_float_positional(np.float32(0 if value is None else value), trim="0")
        )
        assert value is None or len(text) <= shortest


@given(hn.arrays(np.float32, st.tuples(st.integers(0, 5), st.just(3))), st.data())
def test_vectors(matrix: np.ndarray, data: st.DataObject) -> None:
    there = data.draw(st.lists(st.booleans(), min_size=len(matrix), max_size=len(matrix)))
    rows = [list(map(float, row)) if t else None for row, t in zip(matrix, there, strict=True)]
    for kind in (pa.list_(pa.float32()), pa.list_(pa.float32(), 3), pa.large_list(pa.float32())):
        found = read(pa.array(rows, kind))
        assert [row is None for row in found] == [row is None for row in rows]
        for got, row in zip(found, rows, strict=True):
            for one, value in zip(got or [], row or [], strict=True):
                finite = np.isfinite(value)
                assert np.float32(one) == np.float32(value) if finite else one is None


@given(st.lists(st.dictionaries(st.text(), st.one_of(st.none(), st.text()), max_size=3)))
def test_texts_and_maps(rows: list[dict[str, str | None]]) -> None:
    assert (
        read(pa.array([list(row.items()) for row in rows], pa.map_(pa.string(), pa.string())))
        == rows
    )
    texts = [text for row in rows for text in row]
    assert read(pa.array(texts, pa.string())) == texts


def test_every_type_and_every_slice() -> None:
    table = duckdb.sql("from test_all_types()").to_arrow_table()
    for name in table.column_names:
        column = table[name].combine_chunks()
        texts = json_texts(column).to_pylist()
        assert [json.loads(text) for text in texts][-1] is None
        twice = pa.concat_arrays([column, column])
        for convert in (json_texts, flat_texts):
            whole = convert(twice).to_pylist()
            assert str(convert(twice[1:4]).to_pylist()) == str(whole[1:4]), name
            assert len(convert(column[:0])) == 0
            assert convert(column[:0]).type == convert(column).type
        assert flat_texts(column).type == flat_type(column.type)
        assert plain_values(column)[-1] is None


def test_values_of_each_kind() -> None:
    assert read(pa.array([1, None, 2**62])) == [1, None, 2**62]
    assert json_texts(pa.array([Decimal("10.50")])).to_pylist() == ["10.50"]
    assert json_texts(pa.array([1.0, 1e-5, float("inf")])).to_pylist() == ["1.0", "0.00001", "null"]
    assert read(pa.array([{"a": [{"b": None}]}, None])) == [{"a": [{"b": None}]}, None]
    assert read(pa.array([b"\x00\xff"])) == ["00ff"]
    assert read(pa.array(["a"]).dictionary_encode()) == ["a"]
    assert plain_values(pa.array([[1.5, 2.0, 3.0, 4.0, 5.0]], pa.list_(pa.float32()))) == [
        "[1.5, 2.0, 3.0, 4.0, …]"
    ]
    assert plain_values(pa.array([0.1, None], pa.float32())) == [0.1, None]
