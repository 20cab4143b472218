"""Read one table, Parquet or CSV, and give the columns everything hangs on their type."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import overload

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmx.data.csvs.format import PLAIN, CsvFormat, is_csv
from mmx.data.csvs.reader import read_csv
from mmx.errors import DataError
from mmx.files import Place, RemotePath, readable

SUFFIXES = (".parquet", ".csv", ".tsv")  # in the order in which they are looked for


@overload
def find_table(directory: Path, name: str) -> Path: ...
@overload
def find_table(directory: RemotePath, name: str) -> RemotePath: ...
def find_table(directory: Place, name: str) -> Place:
    """``DIR/name.parquet``, .csv or .tsv. Raises DataError when there is none."""
    for suffix in SUFFIXES:
        path = directory / f"{name}{suffix}"
        if path.is_file():
            return path
    raise DataError(
        f"{directory} holds no {name}.parquet, .csv or .tsv; "
        "--data takes a dataset directory (docs/data.md; `mmx demo` makes one to look at)"
    )


def has_table(directory: Place, name: str) -> bool:
    """Whether ``find_table`` finds one."""
    return any((directory / f"{name}{suffix}").is_file() for suffix in SUFFIXES)


def read_table(
    path: Place,
    leave_out: Sequence[str] = (),
    csv: CsvFormat = PLAIN,
    only: Sequence[str] | None = None,
) -> pa.Table:
    """Read a Parquet or CSV table, of Parquet without some columns or only some.

    Raises DataError when it is unreadable.
    """
    if is_csv(path):
        return read_csv(path, csv)
    try:
        with readable(path) as file, pq.ParquetFile(file) as parquet:
            there = parquet.schema_arrow.names
            names = [n for n in there if n not in leave_out and (only is None or n in only)]
            return parquet.read(columns=names)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).split("\n")[0].rstrip(".")
        raise DataError(f"{path} is unreadable: {reason}; write it anew") from error


def require(table: pa.Table, columns: tuple[str, ...], path: Place) -> None:
    """Raise DataError unless the table has all the columns."""
    absent = [name for name in columns if name not in table.column_names]
    if absent:
        raise DataError(
            f"{path} lacks the column {', '.join(absent)}; it has {', '.join(table.column_names)}"
        )


def id_column(table: pa.Table, name: str, path: Place) -> pa.ChunkedArray:
    """An id column as strings. Raises DataError on ids of other types, null and empty ones."""
    column = _plain(table[name])
    if not _may_be_ids(column.type):
        raise DataError(
            f"{path}: {name} holds fractions ({column.type}); ids are text or whole numbers"
            if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type)
            else f"{path}: {name} is {column.type}; ids are text or whole numbers"
        )
    column = column.cast(pa.string())
    if column.null_count:
        raise DataError(
            f"{path}: {column.null_count} rows have no {name}, row {_first(column.is_null())} the "
            "first (behind the header); remove or name them"
        )
    empty = pc.equal(pc.binary_length(column), 0)
    if pc.any(empty).as_py():
        raise DataError(
            f"{path}: some rows have an empty {name}, row {_first(empty)} the first (behind the "
            "header); remove or name them"
        )
    return column


def _first(which: pa.ChunkedArray) -> int:
    """The first row where it is so, counted from 1."""
    return int(pc.index(which, True).as_py()) + 1


def text_column(table: pa.Table, name: str, path: Place) -> pa.ChunkedArray:
    """A column as strings, all null where the table has none of that name.

    Raises DataError when its values are no texts.
    """
    if name not in table.column_names:
        return pa.chunked_array([pa.nulls(table.num_rows, pa.string())])
    column = _plain(table[name])
    try:
        return column.cast(pa.string())
    except pa.ArrowException as error:
        raise DataError(f"{path}: {name} is {column.type}; text is expected") from error


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values themselves, not numbers of values in a dictionary."""
    if not pa.types.is_dictionary(column.type):
        return column
    chunks = [chunk.dictionary.take(chunk.indices) for chunk in column.chunks]
    return pa.chunked_array(chunks, column.type.value_type)


def _may_be_ids(kind: pa.DataType) -> bool:
    whole = pa.types.is_decimal(kind) and kind.scale == 0
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view()
    return text or whole or pa.types.is_integer(kind) or pa.types.is_null(kind)
