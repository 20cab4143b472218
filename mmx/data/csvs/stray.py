"""Rows that a stray quote has swallowed.

    j1,"27 inch monitor          the quote opens a cell that continues over the next lines …
    j2,a chair
    j3,monitor 32"               … to a quote that happens to be at the end of a cell

By the rules of CSV this is one row with a text of three lines, and no reader complains. It is
refused when every line, the quotes taken as characters, is a row of its own: it has as many cells
as the header, no cell begins or ends with a blank, and its ids are of the same kinds of
characters as the first one's (letters, digits, others). Two or three such lines may be chance: the
lines after the first must hold three delimiters between them.
"""

from __future__ import annotations

from collections.abc import Sequence

EVIDENCE = 3  # delimiters in the right places


def looks_swallowed(lines: Sequence[str], delimiter: str, columns: int, ids: Sequence[int]) -> bool:
    """Whether the lines of one row look like a row each; ``ids`` are the places of id columns."""
    first, *others = [line.strip("\r\n").split(delimiter) for line in lines if line.strip()]
    if len(others) * (columns - 1) < EVIDENCE or any(
        len(row) != columns for row in (first, *others)
    ):
        return False
    alike = sum(_alike(first, row, ids) for row in others)
    return 2 * alike > len(others)


def _alike(first: Sequence[str], row: Sequence[str], ids: Sequence[int]) -> bool:
    if any(cell != cell.strip() for cell in row):
        return False
    return all(row[n] and _kinds(row[n]) == _kinds(first[n]) for n in ids)


def _kinds(cell: str) -> set[str]:
    return {
        "0" if letter.isdigit() else "a" if letter.isalpha() else letter
        for letter in cell.strip('"')
    }
