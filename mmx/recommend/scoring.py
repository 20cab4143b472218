"""The one way from a finished model to ranked items; evaluation and recommendation share it.

A scorer is what a run keeps of its model. Equal scores rank by rising item number, which is
the order of a hash of the item ids (``fit`` numbers them so). An item that the model
knows nothing of is not recommended: a list is shorter then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np

from mmx.devices import CPU
from mmx.recommend.device_products import products_on
from mmx.recommend.interactions import UserItems
from mmx.recommend.least_squares import LeastSquares
from mmx.recommend.products import WIDE, lengths_of, searched_products
from mmx.recommend.threads import in_blocks
from mmx.search.products import inner_products

CHUNK_BYTES = 256 << 20  # of scores or candidates in memory at once
MANY = 128  # users from which blocks of items are faster than one search
SEEN_LIMIT = 2048  # beyond so many excluded items a user is ranked over the dense scores
HEAP_SHARE = 256  # columns for each of the best, from which heaps beat sorting whole numbers
KEY_BYTES = 1 << 20  # of scores and places as whole numbers at once; fits the cache


class Scorer(Protocol):
    """Anything that can score the whole catalogue for some users."""

    @property
    def n_items(self) -> int:
        """Items of the catalogue."""
        ...

    def scores(self, users: np.ndarray) -> np.ndarray:
        """(n,) user numbers → (n, items) float32, the caller's to change.

        -inf where the model knows nothing of the user or the item.
        """
        ...


@runtime_checkable
class ListMaker(Protocol):
    """A scorer that makes the lists itself."""

    def best(
        self, users: np.ndarray, k: int, exclude: UserItems, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Items and scores (n, k) of (n,) users, as in ``rank``."""
        ...


@dataclass(frozen=True)
class Factors:
    """Scores are inner products of user and item embeddings; of a zero vector nothing is known."""

    users: np.ndarray  # (users, k) float32
    items: np.ndarray  # (items, k) float32
    # The equation of a user's vector; None: mmx.recommend.inductive estimates a new user's.
    solve: LeastSquares | None = None
    device: str = CPU  # where many users' products are computed; any other is a GPU's

    @property
    def n_items(self) -> int:
        """Items of the catalogue."""
        return len(self.items)

    @cached_property
    def known_users(self) -> np.ndarray:
        """(users,) bool."""
        return np.asarray(self.users.any(1))

    @cached_property
    def known_items(self) -> np.ndarray:
        """(items,) bool."""
        return np.asarray(self.items.any(1))

    @cached_property
    def item_lengths(self) -> np.ndarray:
        """(items,) float32."""
        return lengths_of(self.items)

    def scores(self, users: np.ndarray) -> np.ndarray:
        """(n,) user numbers → (n, items)."""
        scores = self.users[users] @ self.items.T
        if not self.known_items.all():
            scores[:, ~self.known_items] = -np.inf
        scores[~self.known_users[users]] = -np.inf
        return scores


@dataclass(frozen=True)
class Ranking:
    """The best items of each of n users, best first; fewer than K candidates leave -1, -inf.

    K is the requested number, at most as many items as may be shown.
    """

    items: np.ndarray  # (n, K) int64 item numbers
    scores: np.ndarray  # (n, K) float32


def rank(
    scorer: Scorer,
    users: np.ndarray,
    k: int,
    exclude: UserItems,
    allowed: np.ndarray | None = None,
) -> Ranking:
    """The K best items of each user.

    ``exclude`` has a row for every user of the scorer: items never shown to that user.
    ``allowed`` (items,) bool restricts the candidates for all. Memory stays bounded: users go
    in chunks, those with many excluded items together.
    """
    pool = _pool(scorer, allowed)
    k = min(k, len(pool))
    items = np.full((len(users), k), -1, dtype=np.int64)
    scores = np.full((len(users), k), -np.inf, dtype=np.float32)
    if not k:
        return Ranking(items, scores)
    if isinstance(scorer, ListMaker):
        return Ranking(*scorer.best(users, k, exclude, allowed))
    seen = exclude.counts[users]
    slow = np.ones(len(users), dtype=bool)
    if isinstance(scorer, Factors) and are_many(len(users), k, len(pool)):
        known = np.flatnonzero(scorer.known_users[users])
        hidden, queries = exclude.rows(users[known]), scorer.users[users[known]]
        items[known], scores[known] = products_on(
            scorer.device, queries, scorer.items, pool, k, hidden
        )
        return Ranking(items, scores)
    if isinstance(scorer, Factors) and k * WIDE <= len(pool):
        slow = scorer.known_users[users]
        few = np.flatnonzero(slow & (seen <= SEEN_LIMIT))
        hidden, queries = exclude.rows(users[few]), scorer.users[users[few]]
        items[few], scores[few] = searched_products(
            queries, scorer.items, scorer.item_lengths, pool, k, hidden
        )
        slow[few] = False
    elif isinstance(scorer, Factors):
        few = np.flatnonzero((seen <= SEEN_LIMIT) & scorer.known_users[users])
        candidates = scorer.items if len(pool) == scorer.n_items else scorer.items[pool]
        for alike in _by_seen(few, seen):
            fetch = min(k + 1 + int(seen[alike].max()), len(pool))
            for rows in _chunks(alike, 40 * fetch):
                queries = scorer.users[users[rows]]
                values, places = inner_products(queries, candidates, fetch, each=True)
                found, tied = _best(values, pool[places], k, exclude.rows(users[rows]))
                items[rows], scores[rows], slow[rows] = found.items, found.scores, tied
    for rows in _chunks(np.flatnonzero(slow), 32 * scorer.n_items):
        found = _dense(scorer, users[rows], k, exclude, pool)
        items[rows], scores[rows] = found.items, found.scores
    return Ranking(items, scores)


def are_many(users: int, k: int, pool: int) -> bool:
    """Whether so many lists of k from a pool of items are made together, in blocks."""
    return users >= MANY and k * WIDE <= pool


def _pool(scorer: Scorer, allowed: np.ndarray | None) -> np.ndarray:
    """Numbers of the items that may be shown to anybody."""
    may = np.ones(scorer.n_items, dtype=bool) if allowed is None else allowed
    if isinstance(scorer, Factors):
        may = may & scorer.known_items
    return np.flatnonzero(may)


def _chunks(rows: np.ndarray, bytes_per_row: int) -> Iterator[np.ndarray]:
    size = max(1, CHUNK_BYTES // bytes_per_row)
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _by_seen(rows: np.ndarray, seen: np.ndarray) -> Iterator[np.ndarray]:
    """Users with similar numbers of excluded items, so that little more is fetched than needed."""
    level = np.ceil(np.log2(seen[rows] + 1)).astype(np.int64)
    for value in np.unique(level):
        yield rows[level == value]


def _best(
    scores: np.ndarray, items: np.ndarray, k: int, exclude: UserItems
) -> tuple[Ranking, np.ndarray]:
    """The K best of (n, m) candidates that come best first, m > K + a user's excluded items.

    Also (n,) bool: whether the K-th score ties with the next, so that an item of the same score
    and a lower number may be missing.
    """
    hidden = exclude.found_in(items)  # (n, m)
    order = np.argsort(hidden, axis=1, kind="stable")[:, : k + 1]  # shown ones first
    items, scores = np.take_along_axis(items, order, 1), np.take_along_axis(scores, order, 1)
    gone = np.take_along_axis(hidden, order, 1)
    items[gone], scores[gone] = -1, -np.inf
    short = k + 1 - items.shape[1]
    if short > 0:
        items = np.pad(items, ((0, 0), (0, short)), constant_values=-1)
        scores = np.pad(scores, ((0, 0), (0, short)), constant_values=-np.inf)
    equal = (scores[:, 1:] == scores[:, :-1]) & (items[:, 1:] >= 0)  # (n, K)
    tied = equal[:, -1]
    for row in np.flatnonzero(equal.any(1) & ~tied):
        fair = np.lexsort((items[row], -scores[row]))
        items[row], scores[row] = items[row, fair], scores[row, fair]
    return Ranking(items[:, :k], scores[:, :k]), tied


def _dense(
    scorer: Scorer, users: np.ndarray, k: int, exclude: UserItems, pool: np.ndarray
) -> Ranking:
    """Rank over the dense (n, items) scores, exact in ties too."""
    scores = scorer.scores(users)
    mine = exclude.rows(users)
    scores[mine.users, mine.indices] = -np.inf
    if len(pool) < scorer.n_items:
        scores = np.ascontiguousarray(scores[:, pool])
    best, places = best_of(scores, k)
    return Ranking(np.where(np.isneginf(best), -1, pool[places]), best)


def best_of(scores: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Values and places (n, count) of the best of (n, m) float32; equal ones by rising place."""
    scores = np.ascontiguousarray(scores, dtype=np.float32)
    if HEAP_SHARE * count > scores.shape[1]:
        places = _by_place(scores, count)
        return np.take_along_axis(scores, places, 1), places
    values, places = _largest(scores, count + 1)
    equal = (values[:, 1:] == values[:, :-1]) & ~np.isneginf(values[:, 1:])
    unsure = np.flatnonzero(equal.any(1))
    values, places = values[:, :count], places[:, :count]
    places[unsure] = _by_place(scores[unsure], count)
    values[unsure] = np.take_along_axis(scores[unsure], places[unsure], 1)
    return values, places


def _largest(scores: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Values and places (n, count) of the best of (n, m) float32; equal ones in any order.

    Where fewer are above -inf, the rest are a place of -inf.
    """
    import faiss

    values = np.empty((len(scores), count), dtype=np.float32)
    places = np.empty((len(scores), count), dtype=np.int64)
    heaps = faiss.float_minheap_array_t()
    heaps.nh, heaps.k = places.shape
    heaps.val, heaps.ids = faiss.swig_ptr(values), faiss.swig_ptr(places)
    heaps.heapify()
    heaps.addn(scores.shape[1], faiss.swig_ptr(scores))  # never takes -inf
    heaps.reorder()
    short = np.flatnonzero((places < 0).any(1))
    unknown = np.isneginf(scores[short]).argmax(1)[:, None]
    values[short] = np.where(places[short] < 0, -np.inf, values[short])
    places[short] = np.where(places[short] < 0, unknown, places[short])
    return values, places


def _by_place(scores: np.ndarray, count: int) -> np.ndarray:
    """Places (n, count) of the best of (n, m) float32 scores; equal ones by rising place."""
    found = np.empty((len(scores), count), dtype=np.int64)

    def fill(rows: slice) -> None:
        keys = _keys(scores[rows])
        least = keys.shape[1] - count
        keys.partition(least, axis=1)
        found[rows] = -np.sort(keys[:, least:], axis=1)[:, ::-1] & np.int64(0xFFFFFFFF)

    in_blocks(fill, len(scores), max(1, KEY_BYTES // (8 * scores.shape[1])))
    return found


def _keys(scores: np.ndarray) -> np.ndarray:
    """(n, m) int64 that sort as the scores, and equal ones by falling place.

    Score and place become one whole number each, so that no two are equal: the bits of a
    float, read as a signed number with the negative ones flipped, sort as the float does.
    """
    bits = (scores + np.float32(0)).view(np.int32)  # -0.0 becomes 0.0
    bits ^= (bits >> 31) & np.int32(0x7FFFFFFF)
    keys = bits.astype(np.int64)
    keys <<= 32
    keys -= np.arange(scores.shape[1], dtype=np.int64)
    return keys
