"""The column names of a CSV file, and what they show of its encoding and delimiter."""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from pathlib import Path

from mmx.data.csvs.scan import no_utf8
from mmx.errors import DataError, first_few
from mmx.files import Place

LONGEST = 1 << 20  # bytes of a header
DELIMITERS = {";": "';'", "\t": "tab", "|": "'|'", ",": "','"}  # → what one types
KNOWN = ("item_id", "user_id", "text", "image", "asin", "itemID")


def read_header(path: Path, name: Place, delimiter: str) -> list[str]:
    """The column names of a UTF-8 file; one without a name is called by its number.

    ``name`` is what errors call the file. Raises DataError when there is no header, a name
    occurs twice or has blanks around it, and when it looks like another encoding or delimiter.
    """
    with path.open("rb") as file:
        head = file.read(LONGEST)
    text = _text(head, name)
    names = _first_row(text, name, delimiter)
    if "\ufffd" in "".join(names):
        _check_utf8(head, name)
    _check_delimiter(names, name, delimiter)
    for column in names:
        if column != column.strip() or "\n" in column:
            raise DataError(f"{name}: the column name {column!r} has blanks around it; remove them")
    names = [column or f"column{place}" for place, column in enumerate(names, 1)]
    twice = [column for column, times in Counter(names).items() if times > 1]
    if twice:
        raise DataError(f"{name}: the header names {first_few(twice)} twice; rename one of them")
    return names


def _text(head: bytes, name: Place) -> str:
    refuse_utf16(head, name)
    return head.decode("utf-8", "replace").removeprefix("\ufeff")  # the rows are for ``scan``


def refuse_utf16(head: bytes, name: Place) -> None:
    """Raise DataError where a file that should be UTF-8 begins like UTF-16, as Excel saves it."""
    nulls = [place for place, byte in enumerate(head[:200]) if not byte]
    every_other = len(nulls) > 1 and len({place % 2 for place in nulls}) == 1
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or every_other:
        raise DataError(f"{name} is not UTF-8; it looks like UTF-16: {_utf16(head)}")


def _check_utf8(head: bytes, name: Place) -> None:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError as error:
        line = head.count(b"\n", 0, error.start) + 1
        raise DataError(no_utf8(name, line, head[error.start : error.start + 64])) from error


def _utf16(head: bytes) -> str:
    marked = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return f"--encoding utf-16{'' if marked else '-be' if head[:1] == bytes(1) else '-le'}"


def _first_row(text: str, name: Place, delimiter: str) -> list[str]:
    if not text.strip():
        raise DataError(f"{name} is empty; column names are expected in its first line")
    try:
        names = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise DataError(f"{name}: the header cannot be read: {error}; close its quotes") from error
    if names[:1] and names[0].startswith("sep="):
        raise DataError(f"{name}: line 1 is a note to Excel, {names[0]!r}; delete it")
    if not names:
        raise DataError(f"{name}: line 1 is blank; column names are expected there")
    return names


def _check_delimiter(names: list[str], name: Place, delimiter: str) -> None:
    """Raise DataError when another delimiter gives names that are known, or several for one."""
    for other, typed in DELIMITERS.items():
        split = [part.strip('"') for part in delimiter.join(names).split(other)]
        found = set(split) & set(KNOWN) - set(names)
        if other != delimiter and len(split) > 1 and (found or len(names) == 1):
            raise DataError(
                f"{name}: the columns in {delimiter.join(names)!r} are separated by {typed}; "
                f"use --delimiter {typed}"
            )
