"""The one way from a finished model to ranked items; evaluation and recommendation share it.

A scorer is what a run keeps of its model. Equal scores rank in catalogue order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from mmx.recommend.interactions import UserItems

CHUNK_BYTES = 256 << 20  # of scores or candidates in memory at once
SEEN_LIMIT = 2048  # beyond so many excluded items a user is ranked over the dense scores


class Scorer(Protocol):
    """Anything that can score the whole catalogue for some users."""

    @property
    def n_items(self) -> int:
        """Items of the catalogue."""
        ...

    def scores(self, users: np.ndarray) -> np.ndarray:
        """(n,) user numbers → (n, items) float32."""
        ...


@dataclass(frozen=True)
class Factors:
    """Scores are inner products of user and item embeddings."""

    users: np.ndarray  # (users, k) float32
    items: np.ndarray  # (items, k) float32

    @property
    def n_items(self) -> int:
        """Items of the catalogue."""
        return len(self.items)

    def scores(self, users: np.ndarray) -> np.ndarray:
        """(n,) user numbers → (n, items)."""
        return self.users[users] @ self.items.T


@dataclass(frozen=True)
class Ranking:
    """The best items of each of n users, best first; fewer than K candidates leave -1, -inf."""

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
    pool = np.arange(scorer.n_items) if allowed is None else np.flatnonzero(allowed)
    items = np.full((len(users), k), -1, dtype=np.int64)
    scores = np.full((len(users), k), -np.inf, dtype=np.float32)
    if not len(pool):
        return Ranking(items, scores)
    seen = exclude.counts[users]
    slow = np.ones(len(users), dtype=bool)
    if isinstance(scorer, Factors):
        few = np.flatnonzero(seen <= SEEN_LIMIT)
        slow[few] = False
        for alike in _by_seen(few, seen):
            for rows in _chunks(alike, 40 * (k + 1 + int(seen[alike].max()))):
                found, tied = _search(scorer, users[rows], k, exclude, pool)
                items[rows], scores[rows], slow[rows] = found.items, found.scores, tied
    for rows in _chunks(np.flatnonzero(slow), 12 * scorer.n_items):
        found = _dense(scorer, users[rows], k, exclude, pool)
        items[rows], scores[rows] = found.items, found.scores
    return Ranking(items, scores)


def _chunks(rows: np.ndarray, bytes_per_row: int) -> Iterator[np.ndarray]:
    size = max(1, CHUNK_BYTES // bytes_per_row)
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _by_seen(rows: np.ndarray, seen: np.ndarray) -> Iterator[np.ndarray]:
    """Users whose number of excluded items is alike, so that little is fetched in vain."""
    level = np.ceil(np.log2(seen[rows] + 1)).astype(np.int64)
    for value in np.unique(level):
        yield rows[level == value]


def _search(
    scorer: Factors, users: np.ndarray, k: int, exclude: UserItems, pool: np.ndarray
) -> tuple[Ranking, np.ndarray]:
    """Exact inner-product search, and where the K-th score ties with the one after it."""
    import faiss

    candidates = scorer.items if len(pool) == scorer.n_items else scorer.items[pool]
    fetch = min(k + 1 + int(exclude.counts[users].max(initial=0)), len(pool))
    queries = np.ascontiguousarray(scorer.users[users])
    scores, items = faiss.knn(queries, candidates, fetch, metric=faiss.METRIC_INNER_PRODUCT)
    items = pool[items]  # (n, fetch)
    scores[exclude.contains(users[:, None], items)] = -np.inf
    return _best(scores, items, k)


def _dense(
    scorer: Scorer, users: np.ndarray, k: int, exclude: UserItems, pool: np.ndarray
) -> Ranking:
    """Rank over the dense (n, items) scores, exact in ties too."""
    scores = scorer.scores(users)
    mine = exclude.rows(users)
    scores[mine.users, mine.indices] = -np.inf
    scores = np.ascontiguousarray(scores[:, pool])
    fetch = min(k + 1, len(pool))
    values, places = torch.topk(torch.from_numpy(scores), fetch)
    ranking, tied = _best(values.numpy(), pool[places.numpy()], k)
    for row in np.flatnonzero(tied):
        order = np.argsort(-scores[row], kind="stable")[:k]
        ranking.items[row], ranking.scores[row] = pool[order], scores[row, order]
    ranking.items[np.isneginf(ranking.scores)] = -1
    return ranking


def _best(scores: np.ndarray, items: np.ndarray, k: int) -> tuple[Ranking, np.ndarray]:
    """The K best of (n, ≥ min(K + 1, candidates)) candidates; ties in catalogue order."""
    by_item = np.argsort(items, axis=1)
    items, scores = np.take_along_axis(items, by_item, 1), np.take_along_axis(scores, by_item, 1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, : k + 1]
    items, scores = np.take_along_axis(items, order, 1), np.take_along_axis(scores, order, 1)
    items = np.where(np.isneginf(scores), -1, items)
    short = k + 1 - items.shape[1]
    if short > 0:
        items = np.pad(items, ((0, 0), (0, short)), constant_values=-1)
        scores = np.pad(scores, ((0, 0), (0, short)), constant_values=-np.inf)
    tied = (scores[:, k - 1] == scores[:, k]) & ~np.isneginf(scores[:, k])
    return Ranking(items[:, :k].copy(), scores[:, :k].copy()), tied
