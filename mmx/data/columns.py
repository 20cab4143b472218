"""The columns with a meaning of their own: ids, texts, ratings, weights, times.

Other tools keep a text as bytes, an id as a UUID, a rating as a decimal. Where the meaning is
plain the values are taken, whatever type holds them; where it is not, the error names the type.
"""

from __future__ import annotations

from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from mmx.errors import DataError
from mmx.files import Place

LEAST, MOST = 1e-9, 1e9  # of weights, whose squares float32 holds
VIEWS = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}  # Arrow cannot take rows


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values themselves: no dictionary or run codes, no views, the storage of extension types.

    UUIDs become text in their usual form.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return pa.chunked_array([_decoded(chunk) for chunk in column.chunks], _decoded_type(kind))
    if pa.types.is_run_end_encoded(kind):
        return plain(pc.run_end_decode(column))
    if isinstance(kind, pa.UuidType):
        return pa.chunked_array([_uuids(chunk) for chunk in column.chunks], pa.string())
    if isinstance(kind, pa.BaseExtensionType):
        kept = [chunk.storage for chunk in column.chunks]
        return plain(pa.chunked_array(kept, kind.storage_type))
    return column.cast(VIEWS[kind]) if kind in VIEWS else column


def without_views(table: pa.Table) -> pa.Table:
    """The table, its columns that are views as ordinary ones."""
    for place, field in enumerate(table.schema):
        if field.type in VIEWS:
            kept = table.column(place).cast(VIEWS[field.type])
            table = table.set_column(place, field.with_type(kept.type), kept)
    return table


def id_column(table: pa.Table, name: str, path: Place) -> pa.ChunkedArray:
    """An id column as strings. Raises DataError on ids of other types, null and empty ones."""
    column = plain(table[name])
    if is_bytes(column.type):
        column = _utf8(column, name, path)
    if not _may_be_ids(column.type):
        raise DataError(
            f"{path}: {name} holds fractions ({column.type}); ids are text or whole numbers"
            if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type)
            else f"{path}: {name} is {table[name].type}; ids are text or whole numbers"
        )
    column = _checked(column.cast(pa.string()), name, path)
    if column.null_count:
        raise DataError(
            f"{path}: {column.null_count} rows have no {name}, row {_first(column.is_null())} the "
            "first (the header not counted); remove or name them"
        )
    empty = pc.equal(pc.binary_length(column), 0)
    if pc.any(empty).as_py():
        raise DataError(
            f"{path}: some rows have an empty {name}, row {_first(empty)} the first (the "
            "header not counted); remove or name them"
        )
    return column


def text_column(table: pa.Table, name: str, path: Place) -> pa.ChunkedArray:
    """A column as strings, all null where the table has none of that name.

    Raises DataError when its values are not texts.
    """
    if name not in table.column_names:
        return pa.chunked_array([pa.nulls(table.num_rows, pa.string())])
    column = plain(table[name])
    if is_bytes(column.type):
        column = _utf8(column, name, path)
    try:
        return _checked(column.cast(pa.string()), name, path)
    except pa.ArrowException as error:
        raise DataError(f"{path}: {name} is {table[name].type}; text is expected") from error


def rating_column(table: pa.Table, path: Place) -> pa.ChunkedArray:
    """The ratings as float64; true is 1. Raises DataError on what is not a finite number."""
    return number_column(table, "rating", path)


def number_column(table: pa.Table, name: str, path: Place) -> pa.ChunkedArray:
    """A column as float64; true is 1. Raises DataError on what is not a finite number."""
    column = plain(_filled(table, name, path))
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    return _finite(_numbers(column, name, "a number", path), name, path)


def weight_column(table: pa.Table, path: Place) -> pa.ChunkedArray:
    """The weights as float64. Raises DataError on what is not a number from LEAST to MOST."""
    column = _numbers(plain(table["weight"]), "weight", "a number", path)
    inside = pc.and_(pc.greater_equal(column, LEAST), pc.less_equal(column, MOST))
    odd = pc.fill_null(pc.invert(inside), True)
    if pc.any(odd).as_py():
        row = _first(odd)
        raise DataError(f"{path}: weight is {column[row - 1]} in row {row} (the header not "
                        f"counted); a number from {LEAST:g} to {MOST:g} is expected; correct it, "
                        "or train with --ignore-weights")  # fmt: skip
    return column


def time_column(table: pa.Table, path: Place) -> pa.ChunkedArray:
    """Numbers in the order of the times: as they are, or the time in µs or in its own unit.

    Raises DataError on values that are neither.
    """
    column = plain(_filled(table, "timestamp", path))
    if pa.types.is_temporal(column.type):
        return _ticks(column)
    if pa.types.is_integer(column.type):
        return column
    expected = "a number or a time"
    return _finite(_numbers(column, "timestamp", expected, path), "timestamp", path)


def is_bytes(kind: pa.DataType) -> bool:
    """Whether values are bytes, of any length."""
    return (
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or kind == pa.binary_view()
    )


def _decoded(chunk: pa.DictionaryArray) -> pa.Array:
    values = plain(pa.chunked_array([chunk.dictionary])).combine_chunks()
    return values.take(chunk.indices)


def _decoded_type(kind: pa.DictionaryType) -> pa.DataType:
    return plain(pa.chunked_array([], kind.value_type)).type


def _uuids(chunk: pa.Array) -> pa.Array:
    kept = chunk.storage.to_pylist()
    return pa.array([None if v is None else str(UUID(bytes=v)) for v in kept], pa.string())


def _utf8(column: pa.ChunkedArray, name: str, path: Place) -> pa.ChunkedArray:
    """Bytes as text. Raises DataError where they are not UTF-8."""
    try:
        return column.cast(pa.binary()).cast(pa.string())
    except pa.ArrowException as error:
        raise _no_text(column, name, path) from error


def _checked(column: pa.ChunkedArray, name: str, path: Place) -> pa.ChunkedArray:
    """Strings, checked to be UTF-8: other writers put any bytes into a text column."""
    try:
        column.validate(full=True)
    except pa.ArrowException as error:
        raise _no_text(column.cast(pa.binary()), name, path) from error
    return column


def _no_text(column: pa.ChunkedArray, name: str, path: Place) -> DataError:
    for row, value in enumerate(column.to_pylist(), 1):
        try:
            str(value or b"", "utf-8")
        except UnicodeDecodeError:
            shown = f"row {row}, {value[:16]!r}{'…' if len(value) > 16 else ''}"
            return DataError(f"{path}: {name} holds bytes that are not UTF-8 ({shown}, the first); "
                             "write it as text")  # fmt: skip
    return DataError(f"{path}: {name} is unreadable; write it as text")


def _filled(table: pa.Table, name: str, path: Place) -> pa.ChunkedArray:
    """A column of numbers. Raises DataError where rows have none."""
    missing = table[name].null_count or plain(table[name]).null_count
    if missing:
        why = ", which says the order of a user's interactions" if name == "timestamp" else ""
        raise DataError(
            f"{path}: {missing} rows have no {name}{why}; fill or remove them, or remove the column"
        )
    return table[name]


def _numbers(column: pa.ChunkedArray, name: str, expected: str, path: Place) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return column.cast(pa.float64(), safe=False)
    if pa.types.is_decimal(kind):
        whole = _whole(column) if name == "timestamp" else None
        return column.cast(pa.float64()) if whole is None else whole
    raise DataError(f"{path}: {name} is {kind}{_such_as(column)}; {expected} is expected")


def _whole(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Decimals as whole numbers, which keep their order to the last digit; None if some are not."""
    try:
        return column.cast(pa.int64())
    except pa.ArrowException:
        return None


def _finite(column: pa.ChunkedArray, name: str, path: Place) -> pa.ChunkedArray:
    if not pc.all(pc.is_finite(column)).as_py():
        raise DataError(f"{path}: some {name} is NaN or infinite; fill or remove those rows")
    return column


def _ticks(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A time as a number in the same order, in µs where that loses nothing."""
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        try:
            return column.cast(pa.timestamp("us", getattr(kind, "tz", None))).cast(pa.int64())
        except pa.ArrowInvalid:  # ns that are not zero, or a time out of range for µs
            pass
    width = pa.int32() if kind.bit_width == 32 else pa.int64()
    return column.cast(width).cast(pa.int64())


def _such_as(column: pa.ChunkedArray) -> str:
    """The first text that is not a number, for an error."""
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return ""
    numbers = pc.match_substring_regex(column, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
    first = next(iter(column.filter(pc.invert(numbers)).to_pylist()), None)
    return "" if first is None else f" (such as {first[:40]!r})"


def _first(which: pa.ChunkedArray) -> int:
    """The first row where it is true, counted from 1."""
    return int(pc.index(which, True).as_py()) + 1


def _may_be_ids(kind: pa.DataType) -> bool:
    whole = pa.types.is_decimal(kind) and kind.scale == 0
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return text or whole or pa.types.is_integer(kind) or pa.types.is_null(kind)
