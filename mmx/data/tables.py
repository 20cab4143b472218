"""Read one table, Parquet or CSV, and give the two columns everything hangs on their type."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import overload

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from mmx.errors import DataError
from mmx.files import Place, RemotePath, readable

SUFFIXES = (".parquet", ".csv")  # in the order in which they are looked for


@overload
def find_table(directory: Path, name: str) -> Path: ...
@overload
def find_table(directory: RemotePath, name: str) -> RemotePath: ...
def find_table(directory: Place, name: str) -> Place:
    """``DIR/name.parquet`` or ``DIR/name.csv``. Raises DataError when there is neither."""
    for suffix in SUFFIXES:
        path = directory / f"{name}{suffix}"
        if path.is_file():
            return path
    raise DataError(
        f"{directory} holds no {name}.parquet or {name}.csv; "
        "--data takes a dataset directory (docs/data.md; `mmx demo` makes one to look at)"
    )


def has_table(directory: Place, name: str) -> bool:
    """Whether ``find_table`` finds one."""
    return any((directory / f"{name}{suffix}").is_file() for suffix in SUFFIXES)


def read_table(path: Place, leave_out: Sequence[str] = ()) -> pa.Table:
    """Read a Parquet or CSV table, of Parquet without some columns.

    Raises DataError when it is unreadable.
    """
    try:
        with readable(path) as file:
            if path.suffix == ".csv":
                return pa.csv.read_csv(file)
            with pq.ParquetFile(file) as parquet:
                names = [n for n in parquet.schema_arrow.names if n not in leave_out]
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
    """An id column as strings. Raises DataError on null, empty and fractional ids."""
    column = table[name]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):
        raise DataError(
            f"{path}: {name} holds fractions ({column.type}); ids are text or whole numbers"
        )
    column = column.cast(pa.string())
    if column.null_count:
        raise DataError(f"{path}: {column.null_count} rows have no {name}; remove or name them")
    if len(column) and pc.min(pc.binary_length(column)).as_py() == 0:
        raise DataError(f"{path}: some rows have an empty {name}; remove or name them")
    return column


def text_column(table: pa.Table, name: str) -> pa.ChunkedArray:
    """A column as strings, all null where the table has none of that name."""
    if name not in table.column_names:
        return pa.chunked_array([pa.nulls(table.num_rows, pa.string())])
    column = table[name]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.string())
