"""A text as output of a command: whole or not at all, and nothing that is not ours replaced."""

from __future__ import annotations

from pathlib import Path

from mmx.atomic import Kind, check_target, publishing
from mmx.cli.table_files import DATASET, is_marked, mark


def check_text_out(out: Path, *, overwrite: bool) -> None:
    """Refuse, before any work, a file that cannot or must not be written. Raises TargetError."""
    check_target(out, _kind(), overwrite, parents=False)


def write_text_out(out: Path, text: str, *, overwrite: bool) -> None:
    """Write the text in UTF-8. See ``check_text_out``."""
    with publishing(out, _kind(text), overwrite=overwrite, parents=False) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        mark(temporary)


def _kind(text: str | None = None) -> Kind:
    """What may be replaced: what carries our mark.

    Where the file system keeps no marks, a file that starts with the first line of ``text``.
    """

    def replaceable(path: Path) -> bool:
        if not path.is_file() or path.stem in DATASET:
            return False
        marked = is_marked(path)
        if marked is None:
            first = None if text is None else text.split("\n", 1)[0].encode() + b"\n"
            return first is None or path.read_bytes()[: len(first)] == first
        return marked

    return Kind("an earlier output of this command", replaceable)
