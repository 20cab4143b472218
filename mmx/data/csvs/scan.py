"""One quick pass over the bytes of a CSV file, before anything reads it.

It says how many rows there are, so that none can be lost, and whether the file keeps to the
rules of RFC 4180: a quote opens a cell or closes it or is doubled, and all rows end alike. Readers
differ on files that do not; ``rewrite`` reads those.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mmx.data.csvs.stray import looks_swallowed
from mmx.errors import DataError
from mmx.files import Place

BLOCK = 4 << 20  # bytes looked at together
LONGEST = 256 << 20  # bytes of one row: more is a quote that never closes
QUOTE, LF, CR = 34, 10, 13


@dataclass
class Scan:
    """What was seen of a file, header included until ``scan`` returns."""

    columns: int
    delimiter: str
    ids: Sequence[int] = ()  # places of the id columns
    rows: int = 0  # after the header, without blank lines
    longest: int = 0  # bytes of a row
    quoted: bool = False
    regular: bool = True
    swallowed: list[tuple[int, int]] = field(default_factory=list)  # lines, first and last
    ends: int = 0  # line ends between rows
    crlf: int = 0  # how many of them are \r\n
    lines: int = 0  # passed

    @property
    def newline(self) -> bytes:
        """How rows end."""
        return b"\r\n" if self.crlf else b"\n"


def scan(path: Path, name: Place, facts: Scan) -> Scan:
    """Scan a UTF-8 file of this machine; ``name`` is what errors call it.

    Raises DataError for bytes that are not UTF-8 and for rows swallowed by a stray quote.
    """
    rest = b""
    with path.open("rb") as file:
        read = _checked(file, name)
        while chunk := read(max(BLOCK, len(rest))):
            block = rest + chunk
            rest = block[_look(block, facts) :]
            if len(rest) > LONGEST:
                facts.regular = False
            if not facts.regular:
                return facts
    if rest:  # the last row, without a line end
        facts.regular = _look(rest + facts.newline, facts) > len(rest) and facts.regular
    facts.regular &= facts.crlf in (0, facts.ends)
    facts.rows -= 1
    if facts.regular and facts.swallowed:
        first, last = facts.swallowed[0]
        raise DataError(stray_quote(name, first, last))
    return facts


def stray_quote(name: Place, first: int, last: int) -> str:
    """The error about swallowed rows."""
    return (
        f"{name}: a quote opens in line {first} and closes in line {last}, and each of the lines "
        "looks like a row; a quote that is part of a text is written twice, in quotes (is it one "
        "text of several lines? write the table as Parquet)"
    )


def _checked(file: BinaryIO, name: Place) -> Callable[[int], bytes]:
    """A function that reads the next bytes and raises DataError where they are not UTF-8."""
    decode = codecs.getincrementaldecoder("utf-8")().decode
    file.seek(3 if file.read(3) == codecs.BOM_UTF8 else 0)
    lines = 1

    def read(size: int) -> bytes:
        nonlocal lines
        chunk = file.read(size)
        try:
            decode(chunk, not chunk)
        except UnicodeDecodeError as error:
            bad = bytes(error.object)
            line = lines + bad.count(b"\n", 0, error.start)
            raise DataError(no_utf8(name, line, bad[error.start : error.start + 64])) from error
        lines += chunk.count(b"\n")
        return chunk

    return read


def no_utf8(name: Place, line: int, bad: bytes) -> str:
    """The error about bytes that are not UTF-8."""
    kind = "cp1252" if any(0x80 <= byte < 0xA0 for byte in bad) else "latin-1"
    return (
        f"{name} is not UTF-8: byte 0x{bad[0]:02X} in line {line}; it looks like {kind}: "
        f"--encoding {kind} (or what it was saved as)"
    )


def _look(block: bytes, facts: Scan) -> int:
    """Count the whole rows of a block; the position after the last of them."""
    data = np.frombuffer(block, np.uint8)
    lines = np.flatnonzero(data == LF)
    quotes = np.flatnonzero(data == QUOTE) if QUOTE in block else np.empty(0, np.int64)
    outside = np.searchsorted(quotes, lines) % 2 == 0 if len(quotes) else np.ones(len(lines), bool)
    ends = lines[outside]
    if not len(ends):
        return 0
    length = int(ends[-1]) + 1
    lines, quotes = (
        lines[: np.searchsorted(lines, length)],
        quotes[: np.searchsorted(quotes, length)],
    )
    outside = outside[: len(lines)]
    facts.quoted |= bool(len(quotes))
    facts.regular &= _proper_quotes(data, quotes, facts.delimiter)
    _count(data, quotes, ends, facts)
    if len(ends) < len(lines) and facts.columns > 1:
        _find_swallowed(block, lines, outside, facts)
    facts.lines += len(lines)
    return length


def _proper_quotes(data: np.ndarray, quotes: np.ndarray, delimiter: str) -> bool:
    """Whether each quote opens a cell, closes one, or is one of two."""
    opens, closes = quotes[0::2], quotes[1::2]
    fits = np.zeros(256, bool)
    fits[[ord(delimiter), QUOTE, LF]] = True
    begun = bool(fits[data[opens[opens > 0] - 1]].all())
    fits[CR] = True
    return begun and bool(fits[data[closes + 1]].all())


def _count(data: np.ndarray, quotes: np.ndarray, ends: np.ndarray, facts: Scan) -> None:
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts
    blank = (lengths == 0) | ((lengths == 1) & (data[starts] == CR))
    returns = np.flatnonzero(data[: ends[-1]] == CR)
    if len(returns):
        returns = returns[np.searchsorted(quotes, returns) % 2 == 0]
        facts.regular &= bool((data[returns + 1] == LF).all())
        facts.crlf += len(returns)
    facts.ends += len(ends)
    facts.rows += int((~blank).sum())
    facts.longest = max(facts.longest, int(lengths.max()))


def _find_swallowed(block: bytes, lines: np.ndarray, outside: np.ndarray, facts: Scan) -> None:
    """Rows of several lines that have, each of them, the delimiters of a row."""
    places = np.flatnonzero(np.frombuffer(block, np.uint8) == ord(facts.delimiter))
    counts = np.diff(np.searchsorted(places, lines), prepend=0)
    counts[np.diff(lines, prepend=-1) <= 2] = facts.columns - 1  # a blank line shows nothing
    last = np.flatnonzero(outside)
    first = np.concatenate([[0], last[:-1] + 1])
    least, most = np.minimum.reduceat(counts, first), np.maximum.reduceat(counts, first)
    suspect = (last > first) & (most == facts.columns - 1) & (least == facts.columns - 1)
    for row in np.flatnonzero(suspect):
        start = int(lines[first[row] - 1]) + 1 if first[row] else 0
        text = block[start : int(lines[last[row]])].decode()
        if looks_swallowed(text.split("\n"), facts.delimiter, facts.columns, facts.ids):
            place = facts.lines + 1
            facts.swallowed.append((place + int(first[row]), place + int(last[row])))
