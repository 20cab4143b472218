"""The catalogue that is served: what is shown of an item, and which items meet filters."""

from __future__ import annotations

import json
import threading
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmx.errors import OptionError
from mmx.serve.answers import compact, plain
from mmx.serve.filters import Filter, kind_of, matching

SHOWN = 80  # characters of a text that stands in for a title
VALUES = 50  # most frequent values of a column that are listed
KEPT = 256 << 20  # bytes of JSON that is kept
ROOM = 200  # bytes of an entry besides its text
FIXED = ("item_id", "text", "title")


class ServedItems:
    """An items table in memory; several threads may read."""

    def __init__(self, table: pa.Table, pictures: np.ndarray | None = None) -> None:
        """``pictures`` (rows,) bool says which rows have a picture that can be shown."""
        names = [f.name for f in table.schema if f.name in FIXED or not _unreadable(f)]
        self.table = _readable(table.select(names)).combine_chunks()
        ids = table["item_id"].to_pylist()
        self.ids: list[str] = ids
        self.places = {one: place for place, one in enumerate(ids)}
        self._pictures = np.zeros(len(ids), dtype=bool) if pictures is None else pictures
        self._more = [name for name in names if name not in FIXED]
        self._kept: dict[str, str] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.ids)

    def texts(self, ids: list[str]) -> list[str]:
        """JSON of what is shown of items, in ASCII; of one that the table does not have its id.

        The text of each is made once; when KEPT is reached, all are made again.
        """
        kept = self._kept
        new = [one for one in ids if one not in kept]
        made = self._made(new) if new else {}
        if new:
            self._keep(made)
        return [kept[one] if one in kept else made[one] for one in ids]

    def _keep(self, made: dict[str, str]) -> None:
        with self._lock:
            self._bytes += sum(len(text) + ROOM for text in made.values())
            if self._bytes > KEPT:  # others may still read the old ones
                self._kept, self._bytes = {}, 0
            else:
                self._kept.update(made)

    def items(self, ids: list[str]) -> list[dict[str, Any]]:
        """The same as Python has it."""
        return [json.loads(text) for text in self.texts(ids)]

    def item(self, item: str) -> dict[str, Any]:
        """One of them."""
        return self.items([item])[0]

    def rows(self, ids: list[str]) -> np.ndarray:
        """(n,) rows of items; of one that the table does not have the number after the last."""
        none = len(self)
        return np.array([self.places.get(one, none) for one in ids], dtype=np.int64)

    def title(self, item: str) -> str | None:
        """What stands for an item in a line."""
        found: str | None = self.item(item)["title"]
        return found

    def pictured(self, ids: list[str]) -> list[bool]:
        """Which items have a picture that can be shown."""
        found: list[bool] = np.append(self._pictures, False)[self.rows(ids)].tolist()
        return found

    def _made(self, ids: list[str]) -> dict[str, str]:
        known = [one for one in ids if one in self.places]
        rows = [self.places[one] for one in known]
        found = self.table.take(pa.array(rows, pa.int64())).to_pylist()
        made = {one: compact(_bare(one)) for one in ids}
        for one, row, values in zip(known, rows, found, strict=True):
            text, title = plain(values.get("text")), plain(values.get("title"))
            made[one] = compact({
                "item_id": one,
                "title": title if title is not None else text and str(text)[:SHOWN],
                "text": text,
                "columns": {name: plain(values[name]) for name in self._more},
                "picture": bool(self._pictures[row]),
            })  # fmt: skip
        return made

    def matching(self, filters: list[Filter]) -> np.ndarray:
        """(rows,) bool. Raises OptionError."""
        return matching(self.table, filters)

    def holding(self, words: str) -> np.ndarray:
        """(rows,) bool: which have the words in id, title or text."""
        met = np.zeros(len(self), dtype=bool)
        for name in ("item_id", "title", "text"):
            if name in self.table.column_names and kind_of(self.table[name].type) == "text":
                column = self.table[name].cast(pa.string())
                met |= pc.fill_null(containing(column, words), False).to_numpy()
        return met

    def columns(self) -> list[dict[str, Any]]:
        """Columns that filters can name, with the most frequent values of those with few."""
        found = []
        for field in self.table.schema:
            kind = kind_of(field.type)
            if kind is None or field.name in FIXED:
                continue
            values = self._frequent(field.name) if kind in ("text", "boolean") else []
            found.append({"column": field.name, "type": kind, "values": values})
        return found

    def values(self, column: str, ids: list[str]) -> list[Any]:
        """A column of some items. Raises OptionError where there is none."""
        if column not in self.table.column_names:
            raise OptionError(f"column {column!r} is not in the items table")
        rows = pa.array([self.places.get(one) for one in ids], pa.int64())
        return [plain(value) for value in self.table[column].take(rows).to_pylist()]

    def _frequent(self, column: str) -> list[Any]:
        counts = pc.value_counts(self.table[column].drop_null().combine_chunks())
        if len(counts) > len(self) / 2 and len(counts) > VALUES:  # nearly one for each item
            return []
        rows = sorted(counts.to_pylist(), key=lambda row: (-row["counts"], str(row["values"])))
        return [row["values"] for row in rows[:VALUES]]


def containing(column: pa.ChunkedArray | pa.Array, words: str) -> Any:
    """Which texts hold the words, in any case of letters."""
    try:
        words.encode()
    except UnicodeEncodeError as error:
        raise OptionError("q is not valid Unicode") from error
    return pc.match_substring(column, words, ignore_case=True)


def _bare(item: str) -> dict[str, Any]:
    return {"item_id": item, "title": None, "text": None, "columns": {}, "picture": False}


def _unreadable(field: pa.Field) -> bool:
    """Whether values are bytes, hold vectors, or say where a picture is: these are not shown."""
    kind = field.type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return True
    return field.name == "image" or pa.types.is_nested(kind)


def _readable(table: pa.Table) -> pa.Table:
    """The same in types that Arrow takes rows of and Python has values for."""
    for place, field in enumerate(table.schema):
        column = table[field.name]
        if pa.types.is_string_view(field.type) or not _in_python(column):
            text = column.cast(pa.string())
            table = table.set_column(place, pa.field(field.name, pa.string()), text)
    return table


def _in_python(column: pa.ChunkedArray) -> bool:
    """Whether Python has all values: its years end with 9999."""
    if not (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)):
        return True
    try:
        pc.min_max(column).as_py()
    except (OverflowError, ValueError):
        return False
    return True
