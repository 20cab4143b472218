"""The exact nearest rows of a matrix by cosine.

A product in float32 finds a few more rows than needed. Their cosines are computed again in float64
and rounded; equal ones rank by the hash of the item id. Where the float32 product
cannot exclude that a row outside of the few belongs to the list (ties, very similar items), all
rows near the limit are looked at. So the lists are those of a search in float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mmx.data.id_order import hashes
from mmx.devices import CPU
from mmx.search.on_device import DeviceRows, tried
from mmx.search.products import QUERIES, inner_products
from mmx.search.vectors import Vectors

SLACK = 16  # rows beyond k whose cosine is computed in float64
TOGETHER = 64  # queries of which all rows near a limit are kept at once
SCORES = 1 << 22  # of one matrix product; fits the cache best
EXACT_BYTES = 64 << 20  # of float64 numbers at once
GRID = 2.0**-26  # of cosines: what differs by the rounding of float64 is equal
EVEN = 1.01  # the largest norm by the smallest, up to which FAISS searches inner products


@dataclass(frozen=True)
class Neighbours:
    """The nearest of each of m queries, best first; fewer than k rows leave -1, -inf."""

    places: np.ndarray  # (m, k) int64, rows of the matrix
    scores: np.ndarray  # (m, k) float32, cosines


class Nearest:
    """Searches the rows of a matrix, or some of them."""

    exact = True  # not by an index

    def __init__(self, vectors: Vectors) -> None:
        self.vectors, self.count = vectors, len(vectors)
        self.rows: np.ndarray | None = None  # to choose from; None: all
        self.error = (vectors.dimension + 8) * 2.0**-24  # of a cosine by float32, at most
        self._order = _Order(vectors.ids)
        self._gpu: tuple[str, DeviceRows] | None = None  # its name, and the rows to choose from

    def among(self, rows: np.ndarray) -> Nearest:
        """The same over some of the rows, ascending."""
        fewer = copy(self)
        fewer.rows, fewer.count, fewer._gpu = rows, len(rows), None
        return fewer

    def on(self, device: str) -> Nearest:
        """The same with the float32 products of a device; the CPU's where the rows do not fit."""
        placed, one = copy(self), self.vectors
        if device != CPU:
            rows = tried(
                device, lambda: DeviceRows(one.matrix, device, which=self.rows, scale=one.scale)
            )
            placed._gpu = None if rows is None else (device, rows)
        return placed

    def search(self, queries: np.ndarray, k: int) -> Neighbours:
        """The k nearest of each of (m, d) float32 queries, none of which may be zero.

        k is at most the number of rows to choose from.
        """
        k = min(k, self.count)
        if not k or not len(queries):
            empty = np.zeros((len(queries), k))
            return Neighbours(empty.astype(np.int64), empty.astype(np.float32))
        units = queries / np.linalg.norm(queries, axis=1, keepdims=True)
        places, limits = self._candidates(units, min(k + SLACK, self.count))
        found = self.ranked(queries, places, k)
        unsure = np.flatnonzero(limits + self.error >= found.scores[:, -1])
        kinds = {queries[one].tobytes(): one for one in unsure}  # many items may share a picture
        ones = np.array(list(kinds.values()), dtype=np.int64)
        for start in range(0, len(ones), TOGETHER):
            part = ones[start : start + TOGETHER]
            near = self._near(units[part], found.scores[part, -1] - 2 * self.error)
            for one, places in zip(part, near, strict=True):
                found.places[one], found.scores[one] = self._best_of(queries[one], places, k)
        for one in unsure:
            same = kinds[queries[one].tobytes()]
            found.places[one], found.scores[one] = found.places[same], found.scores[same]
        return found

    def ranked(self, queries: np.ndarray, places: np.ndarray, k: int) -> Neighbours:
        """The k best of (m, c) places, of which a negative one is none, c at least k."""
        scores = np.empty(places.shape, np.float32)
        step = max(1, EXACT_BYTES // (8 * self.vectors.dimension * places.shape[1]))
        for start in range(0, len(queries), step):
            part = slice(start, start + step)
            rows = self.vectors.matrix[places[part]]  # (s, c, d)
            scores[part] = cosines(rows, queries[part, None, :])
        scores[places < 0] = -np.inf
        return self._order.best(places, scores, k)

    def _candidates(self, units: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(m, count) places, and (m,) the cosine that no other row is above, by float32."""
        everything = count == self.count
        if everything:
            rows = np.arange(self.count) if self.rows is None else self.rows
            places = np.broadcast_to(rows, (len(units), count))
            return places, np.full(len(units), -np.inf)
        if (found := self._proposed(units, count)) is not None:
            return found
        scale = self.vectors.scale
        if self.rows is None and scale.max() <= EVEN * scale.min():
            values, places = inner_products(units, self.vectors.matrix, count)
            last = values[:, -1].astype(np.float64)
            return places, np.maximum(last * scale.max(), last * scale.min()) + self.error
        values, places = self._scaled_products(units, count)
        return places, values[:, -1].astype(np.float64) + self.error

    def _proposed(self, units: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray] | None:
        """``_candidates`` by the device; None where there is none, or its memory is used up."""
        if self._gpu is None:
            return None
        device, rows = self._gpu
        found = tried(device, lambda: rows.best(units, count))
        if found is None:
            self._gpu = None
            return None
        values, places = found
        limits = values[:, -1].astype(np.float64) + self.error
        return places if self.rows is None else self.rows[places], limits

    def _scaled_products(self, units: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        values = np.empty((len(units), count), np.float32)
        places = np.empty((len(units), count), np.int64)
        for start in range(0, len(units), QUERIES):
            part = slice(start, start + QUERIES)
            best = Heaps(len(units[part]), count)
            for first, scores in self._products(units[part]):
                best.add(scores, first)
            values[part], places[part] = best.finish()
        return values, places if self.rows is None else self.rows[places]

    def _products(self, units: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Cosines by float32 of the next rows to choose from, and which is the first of them."""
        step = max(1, SCORES // max(len(units), 64))
        matrix, scale = self.vectors.matrix, self.vectors.scale
        for start in range(0, self.count, step):
            part: slice | np.ndarray = slice(start, start + step)
            if self.rows is not None:
                part = self.rows[part]
            scores = units @ matrix[part].T
            scores *= scale[part]
            yield start, scores

    def _near(self, units: np.ndarray, limits: np.ndarray) -> list[np.ndarray]:
        """Of each query the places of all rows whose cosine by float32 is not below a limit."""
        kept: list[list[np.ndarray]] = [[] for _ in units]
        for first, scores in self._products(units):
            for one, row in enumerate(scores):
                kept[one].append(first + np.flatnonzero(row >= limits[one]))
        near = [np.concatenate(parts) for parts in kept]
        return near if self.rows is None else [self.rows[places] for places in near]

    def _best_of(
        self, query: np.ndarray, places: np.ndarray, k: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best of the places, all by float64."""
        step = max(1, EXACT_BYTES // (8 * self.vectors.dimension))
        parts = [places[start : start + step] for start in range(0, len(places), step)]
        scores = [cosines(self.vectors.matrix[part], query[None]) for part in parts]
        found = self._order.best(places[None], np.concatenate(scores)[None], k)
        return found.places[0], found.scores[0]


def cosines(rows: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """(…,) float32 of (…, d) float32 each: computed in float64 and rounded to ``GRID``.

    Each row is summed in the same way, so that equal rows have equal cosines.
    """
    wide, asked = rows.astype(np.float64), queries.astype(np.float64)
    squares = (wide * wide).sum(-1) * (asked * asked).sum(-1)
    exact = (wide * asked).sum(-1) / np.sqrt(squares)
    return np.asarray((np.rint(exact / GRID) * GRID + 0.0).astype(np.float32))


class _Order:
    """Puts rows in order by score, and equal ones by the hash of their ids."""

    def __init__(self, ids: pa.Array) -> None:
        self._ids = ids
        self._hashes = np.zeros(len(ids), np.uint64)
        self._known = np.zeros(len(ids), dtype=bool)

    def best(self, places: np.ndarray, scores: np.ndarray, k: int) -> Neighbours:
        """The k best of (m, c), c at least k."""
        order = np.argsort(-scores, axis=1, kind="stable")
        places, scores = (np.take_along_axis(one, order, 1) for one in (places, scores))
        equal = (scores[:, 1:] == scores[:, :-1]) & (places[:, 1:] >= 0)
        for row in np.flatnonzero(equal[:, :k].any(1)):
            fair = np.lexsort((self.hashes(places[row]), -scores[row]))
            places[row], scores[row] = places[row, fair], scores[row, fair]
        return Neighbours(places[:, :k], scores[:, :k])

    def hashes(self, places: np.ndarray) -> np.ndarray:
        """(c,) uint64; each is computed once."""
        new = np.unique(places[~self._known[places]])
        if len(new):
            self._hashes[new] = hashes(self._ids.take(pa.array(new)))
            self._known[new] = True
        return self._hashes[places]


class Heaps:
    """The largest of ever more scores of m queries, in C++."""

    def __init__(self, queries: int, count: int) -> None:
        import faiss

        self._values = np.empty((queries, count), np.float32)
        self._places = np.empty((queries, count), np.int64)
        self._heaps = faiss.float_minheap_array_t()
        self._heaps.nh, self._heaps.k = queries, count
        self._heaps.val = faiss.swig_ptr(self._values)
        self._heaps.ids = faiss.swig_ptr(self._places)
        self._heaps.heapify()

    def add(self, scores: np.ndarray, first: int) -> None:
        """(m, n) float32 of the places from ``first`` on."""
        import faiss

        self._heaps.addn(scores.shape[1], faiss.swig_ptr(scores), first)  # type: ignore[call-arg]

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """Values and places (m, count), best first."""
        self._heaps.reorder()
        return self._values, self._places
