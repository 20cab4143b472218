"""Files whose first line names the columns and whose cells are divided by one character.

Quotes are ordinary characters, as in RecBole's and MMRec's files, except around a whole cell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmx.data.formats.lines import LineReader
from mmx.data.formats.workspace import Column, Layout
from mmx.errors import DataError, first_few

NUMBERS = ("rating", "timestamp", "weight")  # which a log may lack


def header(
    path: Path, reader: LineReader, separator: str, *, again: bool = False
) -> tuple[int, list[str]]:
    """The line of the header and the names in it.

    Raises DataError where there is none, or a name occurs twice, which with ``again`` it may.
    """
    number, line = reader.first(path)
    names = [unquoted(name.strip()) for name in line.split(separator)] if line else []
    twice = [name for name, times in Counter(names).items() if times > 1]
    if not names or (twice and not again):
        what = f"names {first_few(twice)} twice" if twice else "is missing"
        raise DataError(f"{path}: the header {what}; the first line names the columns")
    return number, names


def place_of(name: str, names: Sequence[str], path: Path, option: str) -> int:
    """Where a column is. Raises DataError, which names the ``option`` that says another."""
    if name not in names:
        raise DataError(
            f"{path} has no column {name}; it has {first_few(names, 8)}; {option}=NAME says "
            "what it is called"
        )
    return names.index(name)


def cell(place: int) -> str:
    """The cell of a column, numbered from 0, without quotes around it."""
    c = f"mmx_c[{place + 1}]"
    return (
        f"(case when len({c}) > 1 and starts_with({c}, '\"') and ends_with({c}, '\"') "
        f"then replace(substr({c}, 2, len({c}) - 2), '\"\"', '\"') else {c} end)"
    )


def unquoted(text: str) -> str:
    """The same in Python."""
    if len(text) > 1 and text.startswith('"') and text.endswith('"'):
        return text[1:-1].replace('""', '"')
    return text


def log_layout(
    path: Path, names: Sequence[str], wanted: Mapping[str, str], separator: str
) -> Layout:
    """The columns of interactions: ``wanted`` has our names and theirs.

    rating, timestamp and weight may be missing from the file, but not from a line of it.
    """
    columns = []
    for ours, theirs in wanted.items():
        if ours in NUMBERS and theirs not in names:
            continue
        place = place_of(theirs, names, path, f"--columns {ours}")
        kind, found = "DOUBLE" if ours in NUMBERS else "VARCHAR", cell(place)
        lacks = f"{theirs} is missing" + " or not a number" * (ours in NUMBERS)
        if ours == "weight":
            lacks += " above 0"
            found = f"(case when try_cast({found} as double) > 0 then {found} end)"
        columns.append(Column(ours, found, kind, lacks))
    return Layout(columns, separator, len(names))
