"""Search in the vectors of one modality: by a vector, by an item, and all items by each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmx.bounds import check, whole
from mmx.cache.decoding import opened, read_columns
from mmx.cache.schema import status_columns
from mmx.cache.seal import read_footer
from mmx.cache.store import Store, open_store
from mmx.data.vocabulary import Vocabulary, id_array
from mmx.devices import AUTO, CPU, multiplying_device
from mmx.errors import OptionError, StoreError
from mmx.files import Place
from mmx.search.nearest import Nearest, Neighbours
from mmx.search.vectors import Vectors, evened, load_vectors

Ids: TypeAlias = "pa.Array | pa.ChunkedArray | Sequence[str]"
BLOCK = 1024  # queries at once
ROWS = 1 << 20  # of a table, about
MANY = 20_000  # items from which a GPU is looked for, as torch takes seconds to load
LISTS = pa.schema({
    "item_id": pa.string(), "similar_id": pa.string(), "rank": pa.int64(), "score": pa.float32(),
})  # fmt: skip
Keep: TypeAlias = Callable[[int, Callable[[], pa.Table]], pa.Table]


class Searcher:
    """The vectors of one modality of a store, ready to be searched; several threads may search.

    A score is a cosine; equal ones rank by the hash of the item id. Items without a vector, and
    those whose vector is zero or not finite, are never found.
    """

    def __init__(self, store: Store | None, modality: str, vectors: Vectors) -> None:
        """``store`` says of items without a vector why; None: the vectors are of no store."""
        self.store, self.modality, self.vectors = store, modality, vectors
        self._names = Vocabulary(vectors.ids, "item")
        self._nearest = Nearest(vectors)

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def ids(self) -> pa.Array:
        """(n,) ids of the items that can be found, in the store's order."""
        return self.vectors.ids

    def search(self, vector: np.ndarray, k: int = 20, *, among: Ids | None = None) -> pa.Table:
        """The k items nearest to a vector (d,): item_id, rank, score.

        ``among`` restricts the items; ids that the store does not have count for nothing. Fewer
        than k rows come back only where fewer items match. Raises OptionError for a vector of
        another length, one that is zero or not finite, and a k below 1.
        """
        _check_k(k)
        found = self._within(among).search(self._checked(vector), k)
        return pa.table({
            "item_id": self.ids.take(pa.array(found.places[0])),
            "rank": _ranks(found.places[0] >= 0),
            "score": found.scores[0],
        })  # fmt: skip

    def similar(self, items: str | Ids, k: int = 20, *, among: Ids | None = None) -> pa.Table:
        """The k items nearest to each of some items: item_id, similar_id, rank, score.

        Raises UnknownIdError for an item that the store does not have, StoreError for one without
        a usable vector, OptionError for a k below 1.
        """
        _check_k(k)
        rows = self.rows([items] if isinstance(items, str) else items)
        return self._lists(self._within(among), rows, k)

    def similar_all(
        self,
        k: int = 20,
        *,
        among: Ids | None = None,
        device: str = AUTO,
        progress: Callable[[int, int], None] = lambda done, total: None,
        keep: Keep = lambda number, make: make(),
    ) -> Iterator[pa.Table]:
        """``similar`` of all items that have a vector, some at a time.

        ``progress`` gets items done and items in all. With ``among`` both sides are restricted.
        ``device`` is "cpu", "cuda" or "cuda:1"; "auto" is a GPU where there is one and many items.
        ``keep`` gets the number of each table and what makes it; see ``mmx.search.unfinished``.
        Raises OptionError for a device that is not here, or a GPU where an index is searched.
        """
        _check_k(k)
        nearest = _placed(self._within(among), device)
        rows = np.arange(len(self)) if nearest.rows is None else nearest.rows
        yield LISTS.empty_table()
        step = self.step(k)
        for number, start in enumerate(range(0, len(rows), step)):
            part = rows[start : start + step]
            yield keep(number, partial(self._lists, nearest, part, k))
            progress(start + len(part), len(rows))

    def _lists(self, nearest: Nearest, rows: np.ndarray, k: int) -> pa.Table:
        return self._table(rows, self._others(nearest, rows, k))

    def step(self, k: int) -> int:
        """Of how many items ``similar_all`` makes a table."""
        return max(1, min(BLOCK, ROWS // min(k, max(len(self), 1))))

    def rows(self, items: Ids) -> np.ndarray:
        """(m,) rows of items by their ids; raises as ``similar`` does."""
        rows = self._names.numbers(items, missing="negative")
        if len(rows) and rows.min() < 0:
            lost = id_array(items)[int(rows.argmin())].as_py()
            self._explain(lost)
            self._names.numbers(items)  # raises
        return rows

    def _explain(self, item: str) -> None:
        """Raise StoreError for an item that the store has, but nothing to search by."""
        if self.store is None:
            return
        for file in self.store.files:
            with opened(file, read_footer(file)[0]) as source:
                columns = [f"{self.modality}_status"]
                known = [c for c in columns if c in status_columns(self.store.card)]
                table = read_columns(source, ["item_id", *known])
            place = pc.index(table["item_id"].cast(pa.string()), item).as_py()
            if place >= 0:
                status = table[known[0]][place].as_py() if known else None
                reason = "it is zero or not finite" if status in (None, "ok") else status
                raise StoreError(f"{item} has no {self.modality} vector to search by ({reason}); "
                                 f"{self._instead()}")  # fmt: skip

    def _instead(self) -> str:
        have = self.store.card.modalities if self.store else ()
        others = [m for m in have if m != self.modality]
        return f"--modality {others[0]} may have one" if others else "choose another item"

    def near(self, vectors: np.ndarray, k: int, within: np.ndarray | None = None) -> Neighbours:
        """The k rows nearest to each of (m, d) vectors; ``within`` are rows to choose from.

        Raises as ``search`` does.
        """
        checked = np.concatenate([self._checked(one) for one in vectors])
        return self._among(within).search(checked, k)

    def others(self, rows: np.ndarray, k: int, within: np.ndarray | None = None) -> Neighbours:
        """The k rows nearest to each of (m,) rows, itself left out; ``within`` as in ``near``."""
        return self._others(self._among(within), rows, k)

    def _among(self, within: np.ndarray | None) -> Nearest:
        return self._nearest if within is None else self._nearest.among(within)

    @property
    def error(self) -> float:
        """By how much a cosine of a product in float32 may be wrong."""
        return self._nearest.error

    def within(self, among: Ids | None) -> np.ndarray:
        """Rows of those of the ids that can be found, ascending; None: all rows."""
        if among is None:
            return np.arange(len(self))
        rows = self._names.numbers(among, missing="negative")
        return np.unique(rows[rows >= 0])

    def _within(self, among: Ids | None) -> Nearest:
        return self._among(None if among is None else self.within(among))

    def _others(self, nearest: Nearest, rows: np.ndarray, k: int) -> Neighbours:
        """The k nearest to each of the rows, itself left out."""
        found = nearest.search(self.vectors.matrix[rows], k + 1)
        keep = found.places != rows[:, None]
        order = np.argsort(~keep, axis=1, kind="stable")[:, :k]
        kept = np.take_along_axis(keep, order, 1)
        places = np.where(kept, np.take_along_axis(found.places, order, 1), -1)
        return Neighbours(places, np.take_along_axis(found.scores, order, 1))

    def _table(self, rows: np.ndarray, found: Neighbours) -> pa.Table:
        there = found.places >= 0
        asked = np.broadcast_to(rows[:, None], there.shape)
        return pa.table({
            "item_id": self.ids.take(pa.array(asked[there])),
            "similar_id": self.ids.take(pa.array(found.places[there])),
            "rank": _ranks(there),
            "score": found.scores[there],
        }, schema=LISTS)  # fmt: skip

    def _checked(self, vector: np.ndarray) -> np.ndarray:
        """(1, d) float32 whose squares float32 can hold."""
        try:
            given = np.asarray(vector, dtype=np.float64).reshape(-1)
        except (TypeError, ValueError) as error:
            raise OptionError("the query is not a vector of numbers") from error
        if len(given) != self.vectors.dimension:
            raise OptionError(
                f"the query has {len(given)} numbers; {self.modality} vectors of "
                f"{self.vectors.dimension} are searched"
            )
        if not np.isfinite(given).all() or not given.any():
            raise OptionError("the query is a vector that is zero or not finite; nothing is near")
        return evened(given[None]).astype(np.float32)


def open_searcher(
    store: Store | Place | str,
    modality: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Searcher:
    """Read the vectors of a modality, by default image, else the store's first.

    ``store`` is an open one or its place; ``progress`` gets rows read and rows in all. Raises
    OptionError for a modality that the store does not have, StoreError, DamagedError.
    """
    opened = store if isinstance(store, Store) else open_store(store)
    chosen = default_modality(opened) if modality is None else modality
    return Searcher(opened, chosen, load_vectors(opened, chosen, progress))


def default_modality(store: Store) -> str:
    """``image`` where the store has it, else its first."""
    have = store.card.modalities
    return "image" if "image" in have else have[0]


def _placed(nearest: Nearest, device: str) -> Nearest:
    """Searched on a device; by "auto" where that saves more than torch takes to load."""
    if device == AUTO and (nearest.count < MANY or not nearest.exact):
        return nearest
    chosen = multiplying_device(device)
    if chosen != CPU and not nearest.exact:
        raise OptionError(f"--device {device} goes with exact search: drop it, or --index")
    return nearest.on(chosen)


def _check_k(k: int) -> None:
    check("--k ", k, whole(1))


def _ranks(there: np.ndarray) -> pa.Array:
    """1, 2 … in each row of (m, k), of those that are there."""
    return pa.array((np.cumsum(there, axis=-1)[there]).astype(np.int64))
