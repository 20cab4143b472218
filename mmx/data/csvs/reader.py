"""Read a CSV file as a table, or let DuckDB show it as a view.

Cells are read as they are written; an empty one, in quotes or not, is null. ``kinds`` says which
columns are numbers. DuckDB reads files that ``scan`` finds regular; of others ``rewrite`` makes a
regular copy.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import pyarrow as pa

from mmx.data.csvs.format import PLAIN, CsvFormat, is_utf8
from mmx.data.csvs.header import read_header
from mmx.data.csvs.kinds import kinds
from mmx.data.csvs.rewrite import rewrite
from mmx.data.csvs.scan import Scan, scan
from mmx.data.quoting import quoted, quoted_name
from mmx.errors import DataError, first_line
from mmx.files import Place, RemotePath, reaching

BATCH = 16_384  # rows; a batch holds at most 2 GiB of one column


@dataclass(frozen=True)
class Sheet:
    """A CSV file in a form that DuckDB reads correctly."""

    place: Place  # what the user calls it
    path: Path  # on this machine, UTF-8; the user's own file or a copy
    names: list[str]
    facts: Scan

    def sql(self) -> str:
        """A table expression with columns c0, c1 … of text."""
        cells = ", ".join(f"c{n}: 'VARCHAR'" for n in range(len(self.names)))
        longest = max(2_000_000, self.facts.longest + 1024)
        options = {
            "columns": f"{{{cells}}}",
            "auto_detect": "false",
            "header": "true",
            "delim": quoted(self.facts.delimiter),
            "quote": "'\"'",
            "escape": "'\"'",
            "strict_mode": "true",
            "compression": "'none'",
            "hive_partitioning": "false",
            "max_line_size": str(longest),
            # with line breaks in quotes, threads that start inside a text take it for rows
            "parallel": "false" if self.facts.quoted else "true",
            # of one column a blank line is null and an empty cell is ''
            "allow_quoted_nulls": "false" if len(self.names) == 1 else "true",
        }
        path = re.sub(r"([\[*?])", r"[\1]", str(self.path.absolute()))
        listed = ", ".join(f"{name} = {value}" for name, value in options.items())
        blank = " where c0 is not null" if len(self.names) == 1 else ""
        return f"(select * from read_csv({quoted(path)}, {listed}){blank})"


@dataclass(frozen=True)
class CsvView:
    """What DuckDB shows of a CSV file."""

    sql: str  # a SELECT
    path: Path  # the file it reads: the user's own or a copy that lives as long as the process


def read_csv(place: Place, csv: CsvFormat = PLAIN, text: Collection[str] | None = ()) -> pa.Table:
    """All rows of a CSV file. ``text`` are columns that are text whatever they hold; None: all.

    Raises DataError, with the line where there is one, for a file that cannot be read whole.
    """
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        sheet = prepare(place, csv, Path(folder), text or ())
        try:
            cells = connection.sql(sheet.sql()).to_arrow_reader(BATCH).read_all()
        except (duckdb.Error, pa.ArrowException, OSError) as error:  # the last two while it streams
            raise _explained(sheet, error) from error
        connection.register("cells", cells)
        rows, types = kinds(connection, "cells", sheet.names, text)
        _all_there(sheet, rows)
        return _cast(connection, cells, sheet.names, types)


def view_of(place: Place, csv: CsvFormat = PLAIN, text: Collection[str] = ()) -> CsvView:
    """A SELECT over the file with the types of ``read_csv``. Raises DataError as it does."""
    sheet = prepare(place, csv, _kept(), text)
    try:
        with duckdb.connect() as connection:
            rows, types = kinds(connection, sheet.sql(), sheet.names, text)
    except duckdb.Error as error:
        raise _explained(sheet, error) from error
    _all_there(sheet, rows)
    columns = [
        f"{f'c{n}' if kind == 'VARCHAR' else f'cast(c{n} as {kind})'} as {name}"
        for n, (kind, name) in enumerate(zip(types, _distinct(sheet.names), strict=True))
    ]
    return CsvView(f"select {', '.join(columns)} from {sheet.sql()}", sheet.path)


def prepare(place: Place, csv: CsvFormat, folder: Path, text: Collection[str] = ()) -> Sheet:
    """Bring a file into a form that DuckDB reads correctly; copies go into ``folder``."""
    delimiter = csv.delimiter_of(place)
    try:
        path = _in_utf8(place, csv, folder)
        names = read_header(path, place, delimiter)
        ids = [n for n, name in enumerate(names) if name in ("item_id", "user_id", *text)] or [0]
        facts = scan(path, place, Scan(len(names), delimiter, ids))
        if not facts.regular:
            copy = _new(folder)
            rewrite(path, copy, place, facts)
            path, facts = copy, scan(copy, place, Scan(len(names), delimiter))
    except FileNotFoundError as error:
        raise DataError(f"{place} cannot be read: there is no such file") from error
    except OSError as error:
        raise DataError(f"{place} cannot be read: {error.strerror or error}") from error
    return Sheet(place, path, names, facts)


def _in_utf8(place: Place, csv: CsvFormat, folder: Path) -> Path:
    """The file itself where it is on this machine and in UTF-8, else a copy."""
    path = place if isinstance(place, Path) else _new(folder)
    if isinstance(place, RemotePath):
        with reaching(place):
            place.download(path)
    if is_utf8(csv.encoding):
        return path
    copy = _new(folder)
    try:
        with (
            path.open(encoding=csv.encoding, newline="") as read,
            copy.open("w", encoding="utf-8", newline="") as write,
        ):
            while block := read.read(1 << 20):
                write.write(block)
    except UnicodeError as error:
        reason = first_line(error)
        raise DataError(f"{place} is not {csv.encoding}: {reason}; set --encoding") from error
    return copy


def _cast(connection: Any, cells: pa.Table, names: Sequence[str], types: list[str]) -> pa.Table:
    """The columns under their names, numbers as numbers."""
    numbers = [f"cast(c{n} as {kind}) as c{n}" for n, kind in enumerate(types) if kind != "VARCHAR"]
    if numbers:
        found = connection.sql(f"select {', '.join(numbers)} from cells").to_arrow_reader(BATCH)
        cast = found.read_all()
        for name in cast.column_names:
            cells = cells.set_column(cells.column_names.index(name), name, cast[name])
    return cells.rename_columns(list(names))


def _explained(sheet: Sheet, error: Exception) -> DataError:
    """The error with the line of the file: DuckDB counts rows instead, not always correctly."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            rewrite(sheet.path, _new(Path(folder)), sheet.place, sheet.facts)
        except DataError as found:
            return found
    return DataError(f"{sheet.place} cannot be read: {first_line(error)}")


def _all_there(sheet: Sheet, rows: int) -> None:
    if rows < sheet.facts.rows and len(sheet.names) == 1:  # a delimiter and nothing else
        raise DataError(
            f"{sheet.place}: {sheet.facts.rows - rows} rows have no {sheet.names[0]}; remove them"
        )
    if rows != sheet.facts.rows:
        raise DataError(
            f"{sheet.place} holds {sheet.facts.rows} rows and {rows} were read; "
            "please report it, and write the table as Parquet meanwhile"
        )


def _distinct(names: Sequence[str]) -> list[str]:
    """The names quoted for SQL, and distinct where case is ignored."""
    found: list[str] = []
    for name in names:
        while name.lower() in {other.lower() for other in found}:
            name += "_"  # noqa: PLW2901
        found.append(name)
    return list(map(quoted_name, found))


def _new(folder: Path) -> Path:
    """A name in the folder that is not taken."""
    return folder / f"{uuid4().hex}.csv"


_folders: list[tempfile.TemporaryDirectory[str]] = []  # at most one; deleted when the process ends


def _kept() -> Path:
    if not _folders:
        _folders.append(tempfile.TemporaryDirectory(prefix="mmx-"))
    return Path(_folders[0].name)
