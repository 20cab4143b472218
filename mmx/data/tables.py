"""Find and read one table, Parquet or CSV; ``columns`` says what its columns mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import pyarrow as pa
import pyarrow.parquet as pq

from mmx.data.columns import without_views
from mmx.data.csvs.format import PLAIN, CsvFormat, is_csv
from mmx.data.csvs.reader import read_csv
from mmx.errors import DataError, first_few, first_line
from mmx.files import Place, RemotePath, readable

UNREADABLE = (  # whatever Arrow raises on damaged bytes
    pa.ArrowException, OSError, ValueError, KeyError, OverflowError, MemoryError,
)  # fmt: skip
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

    Raises DataError when it is unreadable, or two of the columns have one name.
    """
    if is_csv(path):
        return read_csv(path, csv)
    try:
        with readable(path) as file, pq.ParquetFile(file) as parquet:
            there = parquet.schema_arrow.names
            names = [n for n in there if n not in leave_out and (only is None or n in only)]
            _refuse_twice(names, path)
            return without_views(parquet.read(columns=names))
    except UNREADABLE as error:
        reason = first_line(error).rstrip(".")
        raise DataError(f"{path} is unreadable: {reason}; write it again") from error


def _refuse_twice(names: Sequence[str], path: Place) -> None:
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise DataError(f"{path} has the column {first_few(twice)} twice; rename or remove one")


def require(table: pa.Table, columns: tuple[str, ...], path: Place) -> None:
    """Raise DataError unless the table has all the columns."""
    absent = [name for name in columns if name not in table.column_names]
    if absent:
        there = ", ".join(table.column_names) or "no columns"
        raise DataError(f"{path} lacks the column {', '.join(absent)}; it has {there}")
