"""Filters of a request: column, operator, value; never a text that becomes code.

    [{"column": "price", "op": "<", "value": 20}, {"column": "brand", "op": "in", "value": ["X"]}]

All of them have to hold. A row without a value meets none.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from mmx.errors import OptionError, suggestion

Scalar = bool | int | float | str
MOST, LONGEST = 20, 1000  # filters of a request, values of one ``in``
COMPARED: dict[str, Callable[..., Any]] = {
    "=": pc.equal, "!=": pc.not_equal,
    "<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal,
}  # fmt: skip


class Filter(BaseModel):
    """One condition."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    column: str
    op: Literal["=", "!=", "<", "<=", ">", ">=", "in", "contains"]
    value: Scalar | list[Scalar]


_several = TypeAdapter(list[Filter])


def parsed(text: str | None) -> list[Filter]:
    """Filters from the JSON of a query parameter. Raises OptionError."""
    if not text:
        return []
    try:
        return _several.validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = " ".join(["filters", ".".join(map(str, first["loc"]))]).strip()
        raise OptionError(f"{where}: {first['msg']}; a list such as "
                          '[{"column": "price", "op": "<", "value": 20}] is expected'
                          ) from error  # fmt: skip


def kind_of(column: pa.DataType) -> str | None:
    """number, text, boolean or time; None for what cannot be compared."""
    if pa.types.is_dictionary(column):
        return kind_of(column.value_type)
    if pa.types.is_boolean(column):
        return "boolean"
    if pa.types.is_integer(column) or pa.types.is_floating(column) or pa.types.is_decimal(column):
        return "number"
    if column in (pa.string(), pa.large_string(), pa.string_view()):
        return "text"
    return "time" if pa.types.is_timestamp(column) or pa.types.is_date(column) else None


def matching(table: pa.Table, filters: list[Filter]) -> np.ndarray:
    """(rows,) bool: which rows meet all filters. Raises OptionError for what cannot be compared."""
    if len(filters) > MOST:
        raise OptionError(f"filters: {len(filters)} are given; at most {MOST} are taken")
    met = np.ones(table.num_rows, dtype=bool)
    for one in filters:
        kind = kind_of(table.schema.field(one.column).type) if _has(table, one.column) else None
        if kind is None:
            known = [f.name for f in table.schema if kind_of(f.type)]
            raise OptionError(f"filters: {one.column!r} is not a column to filter on"
                              f"{suggestion(one.column, known)}")  # fmt: skip
        found = _met(_comparable(table[one.column], kind), kind, one)
        met &= pc.fill_null(found, False).to_numpy()
    return met


def _has(table: pa.Table, column: str) -> bool:
    return table.column_names.count(column) == 1


def _comparable(column: pa.ChunkedArray, kind: str) -> pa.ChunkedArray:
    """As one type for each kind."""
    types = {"number": pa.float64(), "text": pa.string(), "time": pa.timestamp("us", "UTC")}
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if kind == "number" and pa.types.is_integer(column.type):
        return column
    return column if kind == "boolean" else column.cast(types[kind], safe=False)


def _met(column: pa.ChunkedArray, kind: str, one: Filter) -> pa.ChunkedArray:
    if one.op == "contains":
        if kind != "text" or not isinstance(one.value, str):
            raise OptionError(f"filters: contains compares texts; {one.column} is a {kind}")
        return pc.match_substring(column, _utf8(one.value), ignore_case=True)
    if (one.op == "in") != isinstance(one.value, list):
        raise OptionError(f"filters: {one.op} of {one.column} takes "
                          f"{'a list of values' if one.op == 'in' else 'one value'}")  # fmt: skip
    if isinstance(one.value, list):
        if len(one.value) > LONGEST:
            raise OptionError(f"filters: in of {one.column} has more than {LONGEST} values")
        values = [_as(value, kind, one.column) for value in one.value]
        return pc.is_in(column, value_set=_array(values, column.type))
    wanted = _as(one.value, kind, one.column)
    if isinstance(wanted, float) and pa.types.is_integer(column.type):  # 1.5 among integers
        column = column.cast(pa.float64(), safe=False)
    (value,) = _array([wanted], column.type)
    return COMPARED[one.op](column, value)


def _array(values: list[Any], kind: pa.DataType | None) -> pa.Array:
    try:
        if kind is not None and pa.types.is_integer(kind):
            values = [value for value in values if value == int(value)]
        return pa.array(values, kind)
    except (pa.ArrowException, OverflowError) as error:
        raise OptionError("filters: a number is larger than the column can hold") from error


def _as(value: Scalar, kind: str, column: str) -> Any:
    """A value as the column's kind. Raises OptionError for one of another."""
    fits = {"number": (int, float), "boolean": (bool,), "text": (str,), "time": (str,)}[kind]
    if not isinstance(value, fits) or (kind == "number" and isinstance(value, bool)):
        raise OptionError(f"filters: {column} is a {kind}; {value!r:.40} is not")
    if kind == "text":
        return _utf8(str(value))
    return _time(str(value), column) if kind == "time" else value


def _utf8(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise OptionError("filters: a value is not valid Unicode") from error
    return text


def _time(text: str, column: str) -> datetime.datetime:
    try:
        found = datetime.datetime.fromisoformat(text)
        return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)
    except ValueError as error:
        raise OptionError(f"filters: {column} is a time; {text!r:.40} is not one such as "
                          "2026-11-26") from error  # fmt: skip
