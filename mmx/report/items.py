"""Items as a reader wants to see them: a picture, a title, and the values of a column."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmx.data.columns import plain
from mmx.data.dataset import Items
from mmx.errors import OptionError, suggestion
from mmx.extract.pictures.thumbnails import thumbnail
from mmx.extract.reasons import ImageError
from mmx.extract.sources.inside import Inside
from mmx.report.markup import esc, short

SIDE = 96  # px, of a picture in a list
TITLE = 90  # characters
OWN = {"item_id", "image", "text", "title", "embedding", "mmx_id"}  # columns that are no kinds
USUAL = ("category", "genre", "type", "brand", "colour", "color")
COLOURS, FEW, BINS = 8, 12, 5


class Cards:
    """Titles and columns of an items table, and pictures where the dataset is there."""

    def __init__(self, table: pa.Table | None, items: Items | None) -> None:
        """``table`` has item_id and more columns; ``items`` is the dataset."""
        self.table = table if table is not None else (items.table if items else None)
        self._read = Inside(items) if items else None
        self._images = items.table.select(["item_id", "image"]) if items else None
        self.made: dict[tuple[str, int], str] = {}

    @property
    def pictures(self) -> bool:
        """Whether there is a dataset to read pictures from."""
        return self._read is not None

    def titles(self, ids: Iterable[str]) -> dict[str, str]:
        """Of each id the title, else the beginning of the text, else the id."""
        wanted = list(dict.fromkeys(ids))
        rows = _rows(self.table, wanted, ["title", "text"])
        return {one: short(_first(rows.get(one, {})) or one, TITLE) for one in wanted}

    def embedded(self, ids: Iterable[str], side: int = SIDE) -> dict[str, str]:
        """Pictures as data URIs; of an item without one that can be shown, nothing."""
        wanted = [one for one in dict.fromkeys(ids) if (one, side) not in self.made]
        if self._read is not None:
            for one, row in _rows(self._images, wanted, ["image"]).items():
                try:
                    made = thumbnail(self._read(row["image"]), side)
                except ImageError:
                    continue
                self.made[one, side] = f"data:image/jpeg;base64,{base64.b64encode(made).decode()}"
        return {one: uri for (one, of), uri in self.made.items() if of == side}

    def cards(self, ids: Sequence[str], under: Sequence[str] = (), side: int = SIDE) -> list[str]:
        """HTML of items: picture or a plain tile, title, and ``under`` it more HTML."""
        titles, pictures = self.titles(ids), self.embedded(ids, side)
        more = list(under) or [""] * len(ids)
        return [
            f'<div class="card">{_picture(titles[one], pictures.get(one))}'
            f'<div class="title" title="{esc(one)}">{esc(titles[one])}</div>{below}</div>'
            for one, below in zip(ids, more, strict=True)
        ]

    def column(self, wanted: str | None) -> str | None:
        """The column that colours a map: the one wanted, or one of few values.

        Raises OptionError where there is no such column.
        """
        if self.table is None:
            if wanted is not None:
                raise OptionError(f"--column {wanted}: no items table is there; give --data DIR")
            return None
        names = [name for name in self.table.column_names if name not in OWN]
        if wanted is not None:
            if wanted not in self.table.column_names:
                hint = suggestion(wanted, names)
                raise OptionError(f"--column {wanted}: the items have no such column{hint}")
            return wanted
        usual = [name for name in USUAL if name in names]
        return next((n for n in [*usual, *names] if 2 <= self._kinds(n) <= FEW), None)

    def _kinds(self, name: str) -> int:
        assert self.table is not None
        values = plain(self.table[name])
        none = any(
            of(values.type) for of in (pa.types.is_nested, pa.types.is_floating, pa.types.is_null)
        )
        return 0 if none else int(pc.count_distinct(values).as_py())

    def colours(self, name: str | None, ids: pa.Array) -> tuple[np.ndarray, list[str]]:
        """(n,) numbers of colours, -1 for the rest, and the names of the colours."""
        none = np.full(len(ids), -1)
        if name is None or self.table is None:
            return none, []
        place = pc.index_in(ids, value_set=_ids(self.table))
        values = plain(self.table[name]).combine_chunks().take(place)
        kind = values.type
        if pa.types.is_nested(kind):
            raise OptionError(f"--column {name} is {kind}; a column of texts or numbers is needed")
        numbers = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        if numbers and pc.count_distinct(values).as_py() > COLOURS:
            return _binned(values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            values = values.cast(pa.string())  # Python's years end with 9999
        elif pa.types.is_floating(kind):
            values = pc.if_else(pc.is_nan(values), None, values)
        said = ["" if value is None else str(value) for value in values.to_pylist()]
        common = [one for one, _ in Counter(said).most_common() if one][:COLOURS]
        places = {one: n for n, one in enumerate(common)}
        return np.array([places.get(one, -1) for one in said], dtype=int), common


def _binned(values: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Fifths of the numbers, from low to high."""
    there = np.isfinite(values)
    edges = np.unique(np.quantile(values[there], np.linspace(0, 1, BINS + 1)))
    groups = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, max(len(edges) - 2, 0))
    names = [f"{a:.4g} to {b:.4g}" for a, b in pairwise(edges)]
    return np.where(there, groups, -1), names or [f"{edges[0]:.4g}"]


def _rows(table: pa.Table | None, ids: Sequence[str], columns: Sequence[str]) -> dict[str, Any]:
    if table is None or not ids:
        return {}
    names = [name for name in columns if name in table.column_names]
    known = pc.is_in(_ids(table), value_set=pa.array(ids, pa.string()))
    rows = table.select(["item_id", *names]).filter(known).to_pylist()
    return {str(row["item_id"]): row for row in rows}


def _ids(table: pa.Table) -> pa.Array:
    ids = table["item_id"].cast(pa.string())
    return ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids


def _first(row: dict[str, Any]) -> str:
    """The title, or else the text."""
    return next((str(row[n]) for n in ("title", "text") if str(row.get(n) or "").strip()), "")


def _picture(title: str, uri: str | None) -> str:
    if uri is None:
        return f'<div class="blank" aria-hidden="true">{esc(title[:1].upper())}</div>'
    return f'<img src="{uri}" alt="">'
