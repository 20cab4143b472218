"""A dataset for programs that know users and items by numbers, and the tables they read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmx.data.formats.cells import NUMBERS
from mmx.data.splits.parts import NAMES
from mmx.data.vocabulary import Vocabulary
from mmx.errors import DataError


@dataclass(frozen=True)
class Numbered:
    """Interactions with their users and items, each numbered from 0 without a gap."""

    log: pa.Table  # user_id, item_id [, rating, timestamp, weight, split]
    users: Vocabulary
    items: Vocabulary  # those with an interaction, in the order of the catalogue
    catalogue: pa.Table  # all columns of these items, in the same order

    @classmethod
    def of(cls, log: pa.Table, catalogue: pa.Table) -> Numbered:
        """From interactions and the whole catalogue."""
        taken = pc.is_in(catalogue["item_id"], value_set=pc.unique(log["item_id"]))
        kept = catalogue.filter(taken)
        users = pc.unique(log["user_id"])
        users = users.take(pc.sort_indices(users))
        return cls(log, Vocabulary(users, "user"), Vocabulary(kept["item_id"], "item"), kept)

    def numbers(self) -> list[tuple[str, Sequence[Any]]]:
        """The log in MMRec's columns."""
        columns: list[tuple[str, Sequence[Any]]] = [
            ("userID", self.users.numbers(self.log["user_id"]).tolist()),
            ("itemID", self.items.numbers(self.log["item_id"]).tolist()),
        ]
        for name in NUMBERS:
            if name in self.log.column_names:
                columns.append((name, self.log[name].to_pylist()))
        labels = pc.index_in(self.log["split"], value_set=pa.array(NAMES)).to_pylist()
        return [*columns, ("x_label", labels)]


def write_columns(path: Path, columns: Sequence[tuple[str, Sequence[Any]]]) -> None:
    """A table with tabs, its header first. Cells must be numbers, or texts that ``cell`` made."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("\t".join(name for name, _ in columns) + "\n")
        rows = zip(*(values for _, values in columns), strict=True)
        file.writelines("\t".join(map(str, row)) + "\n" for row in rows)


def cell(text: str | None) -> str:
    """A text as a cell: one line, without tabs, in quotes where it starts with one."""
    if text is None:
        return ""
    plain = re.sub(r"[\t\r\n]+", " ", text)
    return '"' + plain.replace('"', '""') + '"' if plain.startswith('"') else plain


def id_cells(ids: pa.Array | pa.ChunkedArray, kind: str) -> list[str]:
    """Ids as cells. Raises DataError for one that a cell cannot hold as it is."""
    found = ids.to_pylist()
    for value in found:
        if re.search(r"[\t\r\n]", value):
            raise DataError(
                f"the {kind} {value!r} has a tab or a line break in it, which ends a cell there; "
                "rename it"
            )
    return [cell(value) for value in found]


def number_cells(values: Iterable[Any]) -> list[str]:
    """Numbers as cells; empty where there is none."""
    return ["" if value is None else str(value) for value in values]


def vector_cells(vectors: np.ndarray) -> list[str]:
    """(n, d) float32 as cells with d numbers each, which read back to the same float32."""
    return [" ".join(map(str, row)) for row in vectors.astype(np.float32)]
