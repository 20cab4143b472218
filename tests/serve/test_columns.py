"""Columns of any type are shown and filtered, or are errors of one line."""

from __future__ import annotations

import datetime
import json
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from mmx.errors import OptionError
from mmx.serve.filters import Filter
from mmx.serve.items import ServedItems

TABLE = pa.table(
    {
        "item_id": ["a", "b"],
        "image": ["/somewhere/secret/a.jpg", None],
        "small": pa.array([1, 2], pa.int8()),
        "large": pa.array([2**64 - 1, 1], pa.uint64()),
        "price": pa.array([0.5, 2.0], pa.float32()),
        "exact": pa.array([Decimal("1.10"), None]),
        "late": pa.array([2**40, 0], pa.timestamp("s")),
        "day": pa.array([datetime.date(2026, 1, 1), None]),
        "view": pa.array(["x", "y"], pa.string_view()),
        "coded": pa.array(["x", "y"]).dictionary_encode(),
        "bytes": pa.array([b"1", b"2"], pa.binary_view()),
        "new": pa.array([True, None]),
    }
)
VALUES = [0, -1, 1.5, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64, 10**400, 1e308, True,
          "", "x", "\x00", "2026-01-01", "9999-12-31T23:59:59-23:59"]  # fmt: skip
OPS: list[Any] = ["=", "!=", "<", "<=", ">", ">=", "in", "contains"]


@pytest.fixture(scope="module")
def items() -> ServedItems:
    return ServedItems(TABLE)


def test_every_type_is_json(items: ServedItems) -> None:
    first = items.items(["a", "b", "none"])[0]
    json.dumps([first, items.columns()], allow_nan=False)
    assert {"image", "bytes"}.isdisjoint(first["columns"])
    assert first["columns"]["view"] == "x"
    assert "out of range" in first["columns"]["late"]
    for column in first["columns"]:
        json.dumps(items.values(column, ["a", "none"]), allow_nan=False)


def test_any_filter_is_an_answer_or_an_error_of_ours(items: ServedItems) -> None:
    for column in TABLE.column_names:
        for op in OPS:
            for value in [*VALUES, *([value] for value in VALUES), [2**63 - 1, 1.5], []]:
                with suppress(OptionError):
                    found = items.matching([Filter(column=column, op=op, value=value)])
                    assert found.shape == (2,)


@pytest.mark.parametrize(
    ("column", "op", "value", "meets"),
    [
        ("large", ">", 5, [True, False]),
        ("large", "=", 1, [False, True]),
        ("large", "<", 1.5, [False, True]),
        ("small", ">", 1.5, [False, True]),
        ("price", "<", 1, [True, False]),
        ("view", "=", "y", [False, True]),
    ],
)
def test_numbers_are_compared_whatever_their_type(
    items: ServedItems, column: str, op: Any, value: Any, meets: list[bool]
) -> None:
    assert items.matching([Filter(column=column, op=op, value=value)]).tolist() == meets


def test_where_pictures_are_is_not_to_be_guessed(items: ServedItems) -> None:
    with pytest.raises(OptionError, match="'image' is not a column"):
        items.matching([Filter(column="image", op="contains", value="secret")])
