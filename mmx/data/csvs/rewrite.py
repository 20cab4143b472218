"""CSV that does not keep to the rules, read row by row with Python's csv and rewritten.

A quote inside a cell that does not begin with one (`27" monitor`) is a character, rows may end in
different ways, blanks before a quote stay. What cannot be read this way is an error with its line.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mmx.data.csvs.scan import LONGEST, Scan, stray_quote
from mmx.data.csvs.stray import looks_swallowed
from mmx.errors import DataError
from mmx.files import Place


def rewrite(source: Path, target: Path, name: Place, facts: Scan) -> None:
    """Write the rows of a UTF-8 file in a form that every reader understands.

    ``name`` is what errors call the file. Raises DataError for a row with too many or too few
    cells, and for a quote that is not closed.
    """
    with (
        _long_cells(),
        source.open(encoding="utf-8-sig", newline="") as read,
        target.open("w", encoding="utf-8", newline="") as write,
    ):
        writer = csv.writer(
            write, delimiter=facts.delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n"
        )
        reader = csv.reader(read, delimiter=facts.delimiter, strict=True)
        for line, row in _rows(reader, name):
            writer.writerow(_checked(row, line, reader.line_num, name, facts))


def _rows(reader: Iterator[list[str]], name: Place) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, each with the line it begins in."""
    while True:
        line = reader.line_num + 1  # type: ignore[attr-defined]
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(_torn(name, line, reader.line_num, error)) from error  # type: ignore[attr-defined]
        if row:
            yield line, row


def _torn(name: Place, first: int, last: int, error: csv.Error) -> str:
    where = f"line {first}" if last <= first else f"the row of lines {first} to {last}"
    reason = "a quote opens and nothing closes it" if "end of data" in str(error) else str(error)
    return (
        f"{name}: {where} cannot be read: {reason}; "
        "a quote that is part of a text is written twice, in quotes"
    )


def _checked(row: list[str], first: int, last: int, name: Place, facts: Scan) -> Sequence[str]:
    if not any(row[facts.columns :]):
        row = row[: facts.columns]  # delimiters at the end lose nothing, and DuckDB agrees
    if len(row) != facts.columns:
        raise DataError(
            f"{name}: line {first} has {len(row)} cells, the header has {facts.columns}; "
            f"a cell that holds {facts.delimiter!r} is put in quotes"
        )
    if last > first and facts.columns > 1:
        lines = facts.delimiter.join(row).split("\n")
        if looks_swallowed(lines, facts.delimiter, facts.columns, facts.ids):
            raise DataError(stray_quote(name, first, last))
    return row


@contextmanager
def _long_cells() -> Iterator[None]:
    """Let Python's csv read cells as long as ``scan`` allows; its own limit is 128 KiB."""
    before = csv.field_size_limit(LONGEST)
    try:
        yield
    finally:
        csv.field_size_limit(before)
