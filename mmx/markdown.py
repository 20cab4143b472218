"""Markdown of texts that may hold anything."""

from __future__ import annotations

import re
from collections.abc import Iterable

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
OBEYED = re.compile(r"([\\`*_{}\[\]<>|#~$])")


def one_line(text: str) -> str:
    """On one line, without what a terminal obeys."""
    return CONTROL.sub(" ", text)


def escaped(text: str) -> str:
    """On one line, and shown as it is."""
    return OBEYED.sub(r"\\\1", one_line(text))


def table_row(cells: Iterable[str]) -> str:
    """A line of a table; the cells are Markdown."""
    return f"| {' | '.join(cells)} |\n"


def table_head(names: Iterable[str]) -> str:
    """The first two lines of a table."""
    cells = [escaped(name) for name in names]
    return table_row(cells) + table_row(["---"] * len(cells))
