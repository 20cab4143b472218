"""One text of several columns: ``{title}. {brand}``.

A field is ``{column}`` and only that: no attributes, no indexing, no format. ``{{`` and ``}}`` are
braces. Values have HTML entities written out (``&amp;`` is ``&``) and runs of blanks made one;
lists are joined by commas. What surrounds a missing value is left out with it:

    {title}. {brand} ({year})      Lamp. Acme (2014)      Lamp (2014)      Acme
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mmx.errors import OptionError, suggestion
from mmx.kinds import must_be

TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")
CLOSING = re.compile(r"[)\]}>»”\"']*")
MARKS = re.compile(r"\s*(?:[.,;|/•·]+|\s[-–—]+)(?:\s+|$)")  # between two values, with marks
BLANKS = re.compile(r"\s+")
ENDED = (".", "!", "?", ",", ";", ":")


@dataclass(frozen=True)
class _Field:
    """A column, and what is written around its value where there is one."""

    column: str
    between: str = ""  # before it, where another value precedes
    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class TextTemplate:
    """A template that was checked; ``parse`` makes one."""

    written: str
    fields: tuple[_Field, ...]

    @staticmethod
    def parse(written: str) -> TextTemplate:
        """Raises OptionError for a template without fields, or with one that is not a name."""
        must_be("--text", written, str)
        literals, columns = _tokens(written)
        if not columns:
            raise OptionError(
                f'--text {written!r} has no column in braces; "{{title}}. {{brand}}" is the form'
            )
        sides = [_parted(literal) for literal in literals[1:-1]]
        after = [side[0] for side in sides] + [literals[-1]]
        between = ["", *(side[1] for side in sides)]
        before = [literals[0], *(side[2] for side in sides)]
        found = zip(columns, between, before, after, strict=True)
        return TextTemplate(written, tuple(_Field(*parts) for parts in found))

    @property
    def columns(self) -> list[str]:
        """The columns that it names, each once."""
        return list(dict.fromkeys(field.column for field in self.fields))

    def check(self, known: Sequence[str]) -> None:
        """Raises OptionError where it names a column that is not ``known``."""
        for column in self.columns:
            if column not in known:
                why = suggestion(column, known) if known else "; nothing is known of the items"
                raise OptionError(f"--text {self.written!r}: there is no column {column}{why}")

    def render(self, row: Mapping[str, Any]) -> str | None:
        """The text of one row; None where all of its values are missing."""
        said = ""
        for field in self.fields:
            value = plain_text(row[field.column])
            if value:
                between = field.between if said else ""
                if said.endswith(ENDED):  # a title that ends in a mark needs no other one
                    between = re.sub(r"^\s*[.,;]+", "", between)
                said += f"{between}{field.before}{value}{field.after}"
        return said.strip() or None

    def column(self, table: pa.Table | pa.RecordBatch) -> pa.Array:
        """(rows,) texts of a table that has the columns."""
        rows = table.select(self.columns).to_pylist()
        return pa.array([self.render(row) for row in rows], pa.string())


def plain_text(value: Any) -> str:
    """A value as it is read by people; empty where there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, (list, tuple)):
        return ", ".join(filter(None, map(plain_text, value)))
    return " ".join(html.unescape(str(value)).split())


def _tokens(written: str) -> tuple[list[str], list[str]]:
    """The literals, one more than the columns between them."""
    literals, columns = [""], []
    for token in TOKEN.finditer(written):
        if token[0] in ("{{", "}}"):
            literals[-1] += token[0][0]
        elif token[1] is not None:
            columns.append(_name(token[1], written))
            literals.append("")
        elif token[0] in "{}":
            raise OptionError(f"--text {written!r}: a brace is not closed; write {{{{ for a brace")
        else:
            literals[-1] += token[0]
    return literals, columns


def _name(text: str, written: str) -> str:
    """The name of a column. Raises OptionError for what str.format would take beyond a name."""
    if not text.strip() or re.search(r"[.\[\]!:]", text):
        raise OptionError(
            f"--text {written!r}: {{{text}}} is not the name of a column; only {{column}} is taken"
        )
    return text


def _parted(literal: str) -> tuple[str, str, str]:
    """What goes with the value before, what divides the two, what goes with the value after."""
    start = CLOSING.match(literal).end()  # type: ignore[union-attr]
    marks = MARKS.search(literal, start) or BLANKS.search(literal, start)
    if marks is None:
        return literal[:start], literal[start:], ""
    return literal[: marks.start()], marks[0], literal[marks.end() :]
