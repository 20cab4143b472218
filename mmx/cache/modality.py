"""What the columns of vectors may be called: image, text, fused, and any other valid name."""

from __future__ import annotations

import re
from collections.abc import Iterable

MODALITIES = ("image", "text", "fused")  # what our encoders write, in store order
OWN = ("item_id", "text_tokens", "text_truncated", "content_hash")  # other columns of a store
LONGEST = 64  # letters of a name
EXPECTED = f"letters, digits, _ and - after a letter are expected, {LONGEST} at most"


def clashes(name: str) -> bool:
    """Whether another column of a store has the name, so that it cannot name vectors.

    The only check on stores that exist already; names that mmx writes pass ``name_fault`` too.
    """
    return name in OWN or name.endswith("_status")


def name_fault(name: str) -> str | None:
    """Why ``name`` cannot name a column of vectors; None where it can.

    A name is a column in SQL, where capitals do not matter, a file name, and a word in
    ``--features STORE:NAME,NAME`` and ``--set weights=NAME:NUMBER``.
    """
    if clashes(name.lower()) or name.lower().startswith("mmx_"):
        return f"{name!r} cannot name vectors: a store has such columns of its own"
    if not re.fullmatch(rf"[^\W\d_][\w-]{{0,{LONGEST - 1}}}", name):
        return f"{name[:LONGEST]!r} cannot name vectors: {EXPECTED}"
    return None


def names_fault(names: Iterable[str]) -> str | None:
    """Why the names cannot name the columns of one store; None where they can."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            return f"{name!r} and {other!r} are one column in SQL, where capitals do not matter"
    return next((fault for name in seen.values() if (fault := name_fault(name))), None)


def in_order(names: Iterable[str]) -> list[str]:
    """The names in store order: those our encoders write, then the others by letters."""
    given = sorted(names)
    return [m for m in MODALITIES if m in given] + [m for m in given if m not in MODALITIES]
