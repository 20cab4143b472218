"""Statements of SQL in what is typed or piped: where each ends, and which lines are ours."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

import duckdb

from mmx.errors import DataError, OptionError

LONGEST = 16 << 20  # bytes of stdin


def on_terminal() -> bool:
    """Whether somebody types."""
    return sys.stdin is not None and sys.stdin.isatty()


def piped() -> list[str]:
    """The statements on stdin; the last needs no semicolon.

    Raises OptionError where there is none, and DataError where it is not text, or too long.
    """
    data = b"" if sys.stdin is None else sys.stdin.buffer.read(LONGEST + 1)
    if len(data) > LONGEST:
        raise DataError(f"stdin has more than {LONGEST >> 20} MiB; SQL statements are expected")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"stdin is not UTF-8 ({error.reason} at byte {error.start})") from error
    found = list(commands(text.splitlines(keepends=True)))
    if not found:
        raise OptionError("no SQL: give a query, or statements on stdin")
    dotted = next((one for one in found if one.startswith(".")), None)
    if dotted:
        raise OptionError(f"{dotted.split()[0]} is for the prompt; stdin takes SQL only")
    return found


def commands(lines: Iterable[str]) -> Iterator[str]:
    """Each statement as soon as its semicolon was read, each line that starts with a dot, the rest.

    A line with a dot inside a statement belongs to it.
    """
    held = ""
    for line in lines:
        if line.lstrip().startswith(".") and not has_code(held):
            yield line.strip()
            continue
        done, held = split(held + line)
        yield from done
    if has_code(held):
        yield held.strip()


def split(text: str) -> tuple[list[str], str]:
    """The statements that end in a semicolon, without those that are empty; what comes after."""
    data = text.encode("utf-8", "replace")
    statements, start = [], 0
    for place, _ in duckdb.tokenize(data.decode()):  # places are those of bytes
        if data[place : place + 1] == b";":
            statements.append(data[start : place + 1].decode().strip())
            start = place + 1
    return [one for one in statements if has_code(one[:-1])], data[start:].decode()


def has_code(text: str) -> bool:
    """Whether there is more than comments and white space."""
    kinds = duckdb.tokenize(text.encode("utf-8", "replace").decode())
    return any(kind != duckdb.token_type.comment for _, kind in kinds)


def without_comments(text: str) -> str:
    """A statement on one line, as a history has it."""
    data = text.encode("utf-8", "replace")
    tokens = duckdb.tokenize(data.decode())
    ends = [*(place for place, _ in tokens[1:]), len(data)]
    kept = [
        data[place:end].decode()
        for (place, kind), end in zip(tokens, ends, strict=True)
        if kind != duckdb.token_type.comment
    ]
    return " ".join("".join(kept).split("\n")).strip()
