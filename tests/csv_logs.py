"""Random datasets for CSV files: odd ids, odd texts, every way in which Python writes them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from mmx.data.csvs.stray import looks_swallowed

QUOTING = [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC, csv.QUOTE_NONE]
QUOTING += [getattr(csv, name) for name in ("QUOTE_STRINGS", "QUOTE_NOTNULL") if hasattr(csv, name)]
ODD = st.sampled_from(['"', ",", "\n", "\r\n", " ", "0", "1e5", "NaN", "null", "é", "x", "'", "-"])
ANY = st.characters(exclude_categories=("Cs",), exclude_characters="\0")
PLAIN = st.characters(categories=("L", "N"), include_characters=" -:.'")


@dataclass(frozen=True)
class Log:
    """A catalogue, and users who each took every item."""

    items: Sequence[str]
    users: Sequence[str]
    texts: Sequence[str]

    @property
    def pairs(self) -> list[tuple[str, str, str]]:
        """user, item, split: of each user one to validate and one to test."""
        last = {len(self.items) - 2: "valid", len(self.items) - 1: "test"}
        numbered = list(enumerate(self.items))
        return [(user, item, last.get(n, "train")) for user in self.users for n, item in numbered]


@st.composite
def logs(draw: st.DrawFn, letters: Any, text: Any = None) -> Log:
    cell = st.text(letters, min_size=1, max_size=8)
    if text is None:
        cell |= st.lists(ODD, min_size=1, max_size=6).map("".join)
    items = draw(st.lists(cell, min_size=4, max_size=7, unique=True))
    users = draw(st.lists(cell, min_size=1, max_size=3, unique=True))
    text = cell | st.just("") if text is None else text
    texts = draw(st.lists(text, min_size=len(items), max_size=len(items)))
    return Log(items, users, texts)


def write(path: Path, rows: Sequence[Sequence[str]], quoting: int, newline: str) -> None:
    """A CSV file of which Python's own reader makes the same rows."""
    text = io.StringIO(newline="")
    csv.writer(text, quoting=quoting, lineterminator=newline).writerows(rows)
    found = list(csv.reader(io.StringIO(text.getvalue(), newline=""), strict=True))
    assume(found == [list(row) for row in rows])
    swallowed = (looks_swallowed(",".join(row).split("\n"), ",", len(row), [0]) for row in rows)
    assume(not any(swallowed))  # as a stray quote would look; an error, not silence
    path.write_bytes(text.getvalue().encode())


@st.composite
def written(draw: st.DrawFn) -> tuple[Log, int, str]:
    """A dataset, how its cells are quoted, and how its lines end."""
    quoting = draw(st.sampled_from(QUOTING))
    none = quoting == csv.QUOTE_NONE  # writes no cell that would need quotes
    log = draw(logs(PLAIN, st.text(PLAIN, max_size=8)) if none else logs(ANY))
    return log, quoting, draw(st.sampled_from(["\n", "\r\n"]))


def write_log(folder: Path, log: Log, quoting: int, newline: str) -> None:
    """items.csv and interactions.csv."""
    items = [("item_id", "text"), *zip(log.items, log.texts, strict=True)]
    write(folder / "items.csv", items, quoting, newline)
    head = ("user_id", "item_id", "split")
    write(folder / "interactions.csv", [head, *log.pairs], quoting, newline)
