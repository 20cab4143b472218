"""Lines that are Python dicts, as the Amazon metadata of 2014 has them, as JSON.

Read by a parser of our own: no line is compiled or evaluated, and length and depth are limited.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any

LONGEST = 4 << 20  # characters of a line
DEEPEST = 16  # brackets in brackets
TOKEN = re.compile(
    r"""\s*(?:
    (?P<text>[uU]?(?:'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"))
    |(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?)
    |(?P<name>None|True|False)
    |(?P<mark>[\[\](){}:,])
    |(?P<end>$)
    )""",
    re.VERBOSE,
)
NAMES = {"None": None, "True": True, "False": False}
CLOSING = {"[": "]", "(": ")", "{": "}"}


def as_json(line: str) -> str:
    """The same dict in JSON. Raises ValueError, in words, for a line that is none."""
    if len(line) > LONGEST:
        raise ValueError(f"it has more than {LONGEST >> 20} MiB")
    parser = _Parser(line)
    value = parser.value(0)
    if parser.take()[0] != "end":
        raise ValueError("something follows the dict")
    return json.dumps(value)


class _Parser:
    """The tokens of one line, one after the other."""

    def __init__(self, line: str) -> None:
        self.line, self.at = line, 0

    def take(self) -> tuple[str, str]:
        """The next token: what it is, and how it is written."""
        found = TOKEN.match(self.line, self.at)
        if found is None or found.lastgroup is None:
            raise ValueError(f"{self.line[self.at :][:20]!r} is not part of a dict")
        self.at = found.end()
        return found.lastgroup, found[found.lastgroup]

    def peek(self) -> str:
        """How the next token is written."""
        at = self.at
        written = self.take()[1]
        self.at = at
        return written

    def value(self, depth: int) -> Any:
        """The value that starts here."""
        kind, written = self.take()
        if kind == "text":
            return _text(written)
        if kind == "number":
            return _number(written)
        if kind == "name":
            return NAMES[written]
        if written not in CLOSING:
            raise ValueError("it ends too early" if kind == "end" else f"{written!r} is misplaced")
        if depth >= DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} deep")
        return self._mapping(depth) if written == "{" else self._sequence(CLOSING[written], depth)

    def _sequence(self, closing: str, depth: int) -> list[Any]:
        found: list[Any] = []
        while self.peek() != closing:
            found.append(self.value(depth + 1))
            self._comma(closing)
        self.take()
        return found

    def _mapping(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self.peek() != "}":
            kind, written = self.take()
            if kind != "text" or self.take()[1] != ":":
                raise ValueError("a dict of texts by name is expected")
            found[_text(written)] = self.value(depth + 1)
            self._comma("}")
        self.take()
        return found

    def _comma(self, closing: str) -> None:
        """Pass the comma; without one the bracket must close."""
        if self.peek() != closing and self.take()[1] != ",":
            raise ValueError("a comma is missing")


def _text(written: str) -> str:
    """What a literal in quotes says. Only such a token ever comes here."""
    bare = written.lstrip("uU")
    if "\\" not in bare:
        return bare[1:-1]
    try:
        return str(ast.literal_eval(bare))
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{written[:20]!r} is not a text") from error


def _number(written: str) -> int | float:
    whole = re.fullmatch(r"[+-]?\d{1,300}", written)
    return int(written) if whole else float(written)
