"""What an error says in one line."""

from __future__ import annotations

import ast
import errno
from pathlib import Path

import pytest

from mmx.errors import cannot_write, first_line

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("no such file", "no such file"),
        ("first.\nsecond", "first."),
        ("\n  \r\n  behind blank lines \nmore", "behind blank lines"),
        ("", "ValueError"),
        (" \n\t\n", "ValueError"),
    ],
)
def test_the_first_line_is_never_empty(text: str, line: str) -> None:
    assert first_line(ValueError(text)) == line


def test_a_file_that_cannot_be_written_is_one_line() -> None:
    for error in (OSError(), OSError("\nbroken\npipe"), OSError(errno.ENOSPC, "full\nindeed")):
        assert "\n" not in str(cannot_write(Path("a"), error))
    assert "cannot write a: OSError; " in str(cannot_write(Path("a"), OSError()))


def _cuts_lines(node: ast.AST) -> bool:
    """Whether it is ``(…str(error)…).splitlines()`` or ``.split("\\n")`` of an error's text."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    if node.func.attr not in ("splitlines", "split", "partition"):
        return False
    if node.func.attr == "split" and not node.args:  # by words, as for all lines in one
        return False
    return any(
        isinstance(part, ast.Call)
        and isinstance(part.func, ast.Name)
        and part.func.id == "str"
        and [a.id for a in part.args if isinstance(a, ast.Name)] in (["error"], ["one"])
        for part in ast.walk(node.func.value)
    )


def test_only_one_place_takes_an_error_apart() -> None:
    """Elsewhere an error without a text would be an IndexError."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"  # type: ignore[attr-defined]
        for path in sorted((ROOT / "mmx").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if _cuts_lines(node) and path.name != "errors.py"
    ]
    assert not found
