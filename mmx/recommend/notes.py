"""What the docstring of a recommender says of its paper, read from the source of its module.

Two of its paragraphs start with a fixed word: ``Equations:``, which ones are followed, and
``Released code:``, where that differs and which of the two is followed. Importing the module would
import torch.
"""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from mmx.errors import RunError


class Notes(NamedTuple):
    """The two paragraphs, each as one line without its first word."""

    equations: str
    released_code: str


def notes_of(module: str) -> Notes:
    """Of a module by its name. Raises RunError where it has no source or lacks a paragraph."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise RunError(f"no source file of the module {module}; check its name")
    text = ast.get_docstring(ast.parse(Path(spec.origin).read_bytes())) or ""
    return Notes(_paragraph(text, "Equations", module), _paragraph(text, "Released code", module))


def _paragraph(text: str, start: str, module: str) -> str:
    found = [one for one in text.split("\n\n") if one.startswith(f"{start}: ")]
    if len(found) != 1:
        raise RunError(
            f"the docstring of {module} has {len(found)} paragraphs that start with '{start}:'; "
            "expected one, see CONTRIBUTING.md"
        )
    return " ".join(found[0].removeprefix(f"{start}: ").split())
