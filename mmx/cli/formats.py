"""``--format``: one set of names for what a table is printed as, in all commands that have it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmx.errors import OptionError, one_of

SUFFIXES = {  # of --out
    ".md": "markdown",
    ".tex": "latex",
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".txt": "table",
}


def chosen_format(
    form: str | None, formats: Sequence[str], out: Path | None = None, as_json: bool = False
) -> str:
    """Which of ``formats``: --format, else --json, else the suffix of --out, else the first.

    Raises OptionError for another, and for two that contradict each other.
    """
    if form is not None:
        one_of("--format", form, formats)
        if as_json and form != "json":
            raise OptionError(f"--json and --format {form} are given; drop one")
        return form
    if as_json or out is None:
        return "json" if as_json else formats[0]
    named = SUFFIXES.get(out.suffix.lower())
    if named is None or named not in formats:
        known = [suffix for suffix, name in SUFFIXES.items() if name in formats]
        raise OptionError(f"--out {out}: its suffix names no format; add --format, or end it in "
                          f"{', '.join(known)}")  # fmt: skip
    return named
