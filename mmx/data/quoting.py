"""Texts and names as one writes them in SQL."""

from __future__ import annotations


def quoted(text: str) -> str:
    """A text, in single quotes."""
    return "'" + text.replace("'", "''") + "'"


def quoted_name(name: str) -> str:
    """The name of a column, view or schema, in double quotes."""
    return '"' + name.replace('"', '""') + '"'
