"""Columns as JSON texts, whole columns at once: what JSON files, CSV cells and the terminal show.

Numbers are the shortest texts that read back as the same number of their own type, so that 0.1 in
32 bits is ``0.1``. NaN and infinity, which JSON does not have, are ``null``.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

SHOWN = 4  # values of a list that a table shows
WHOLE = r"^-?[0-9]+$"


def json_texts(column: pa.Array) -> pa.Array:
    """(n,) values of whatever type as (n,) JSON texts, none of them null."""
    return pc.fill_null(_texts(column), "null")


def plain_values(column: pa.Array) -> list[Any]:
    """What a table shows: numbers, truth values and texts as they are, anything else as JSON text.

    Of a list of numbers the first four are shown, and ``…`` for the rest.
    """
    column = _plain(column)
    if pa.types.is_floating(column.type):
        shortest = pc.cast(column, pa.string()).to_pylist()
        return [None if text is None else float(text) for text in shortest]
    if _is_list(column.type):
        return [_shortened(value.values) if value.is_valid else None for value in column]
    return flat_texts(column).to_pylist()


def flat_texts(column: pa.Array) -> pa.Array:
    """What a CSV cell can hold as it is, and JSON texts of what it cannot; null stays null."""
    column = _plain(column)
    kind = column.type
    if _simple(kind) or pa.types.is_floating(kind) or _is_text(kind) or pa.types.is_null(kind):
        return column
    if pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        return pc.cast(column, pa.string())
    if _is_list(kind) or pa.types.is_struct(kind) or pa.types.is_map(kind):
        return _texts(column)
    return pa.array([_as_text(value) for value in column.to_pylist()], pa.string())


def flat_type(kind: pa.DataType) -> pa.DataType:
    """The type that ``flat_texts`` gives for a column of this one."""
    if pa.types.is_union(kind):  # of which Arrow makes no empty column
        return pa.string()
    return flat_texts(pa.array([], kind)).type


def _texts(column: pa.Array) -> pa.Array:
    """JSON texts, null where the value is."""
    column = _plain(column)
    kind = column.type
    if pa.types.is_floating(kind):
        return _fractions(column)
    if _simple(kind) or pa.types.is_null(kind):
        return pc.cast(column, pa.string())
    if pa.types.is_map(kind):
        return _maps(column)
    if _is_list(kind):
        return _lists(column)
    if pa.types.is_struct(kind):
        return _structs(column)
    return _quoted(flat_texts(column))


def _plain(column: pa.Array) -> pa.Array:
    """Without the wrappings of extension types and dictionaries."""
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _fractions(column: pa.Array) -> pa.Array:
    texts = pc.cast(column, pa.string())
    dotted = pc.binary_join_element_wise(texts, ".0", "")  # 1.0, which was no whole number
    texts = pc.if_else(pc.match_substring_regex(texts, WHOLE), dotted, texts)
    return pc.if_else(pc.is_finite(column), texts, pa.scalar(None, pa.string()))


def _lists(column: pa.Array) -> pa.Array:
    lengths = pc.fill_null(pc.list_value_length(column), 0)
    inner = json_texts(column.flatten())
    return _joined(inner, lengths, column, "[", "]")


def _maps(column: pa.Array) -> pa.Array:
    """Maps as objects; their keys as texts."""
    kind = pa.struct([("k", column.type.key_type), ("v", column.type.item_type)])
    entries = column.cast(pa.list_(kind))
    flat = entries.flatten()
    keys = flat.field("k")
    names = _texts(keys) if _is_text(keys.type) else _quoted(_texts(keys))
    pairs = pc.binary_join_element_wise(names, json_texts(flat.field("v")), ": ")
    lengths = pc.fill_null(pc.list_value_length(entries), 0)
    return _joined(pairs, lengths, column, "{", "}")


def _structs(column: pa.Array) -> pa.Array:
    if not column.type.num_fields:
        there = column.is_valid().to_pylist()
        return pa.array(["{}" if one else None for one in there], pa.string())
    fields = [
        pc.binary_join_element_wise(json.dumps(field.name, ensure_ascii=False), texts, ": ")
        for field, texts in zip(column.type, map(json_texts, column.flatten()), strict=True)
    ]
    inside = pc.binary_join_element_wise(*fields, ", ")
    texts = pc.binary_join_element_wise("{", inside, "}", "")
    return pc.if_else(column.is_valid(), texts, pa.scalar(None, pa.string()))


def _joined(inner: pa.Array, lengths: pa.Array, column: pa.Array, start: str, end: str) -> pa.Array:
    """(n,) texts out of those of all values, of which ``lengths`` belong to each."""
    ends = pc.cumulative_sum(pc.cast(lengths, pa.int64()))
    offsets = pa.concat_arrays([pa.array([0], pa.int64()), ends])
    lists = pa.LargeListArray.from_arrays(offsets, inner)
    texts = pc.binary_join_element_wise(start, pc.binary_join(lists, ", "), end, "")
    return pc.if_else(column.is_valid(), texts, pa.scalar(None, pa.string()))


def _quoted(texts: pa.Array) -> pa.Array:
    values = [None if t is None else json.dumps(t, ensure_ascii=False) for t in texts.to_pylist()]
    return pa.array(values, pa.string())


def _shortened(values: pa.Array) -> str:
    texts = json_texts(values[:SHOWN]).to_pylist()
    return f"[{', '.join(texts)}{', …' if len(values) > SHOWN else ''}]"


def _simple(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_list(kind: pa.DataType) -> bool:
    known = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(one(kind) for one in known)


def _as_text(value: Any) -> str | None:
    """Bytes as hexadecimal digits; anything else as Python says it."""
    if isinstance(value, bytes):
        return value.hex()
    return None if value is None else str(value)
