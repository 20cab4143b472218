"""A scorer made of ready lists: what another program recommends to each user, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmx.recommend.interactions import UserItems


@dataclass(frozen=True)
class Listed:
    """The n-th item of a user's list has score 1/n; of all other items nothing is known."""

    indptr: np.ndarray  # (users + 1,) int64
    items: np.ndarray  # (rows,) int64 item numbers, the best of each user first
    n_items: int

    @property
    def lengths(self) -> np.ndarray:
        """(users,) items in the list of each user."""
        return np.diff(self.indptr)

    def scores(self, users: np.ndarray) -> np.ndarray:
        """(n,) user numbers → (n, items)."""
        scores = np.full((len(users), self.n_items), -np.inf, dtype=np.float32)
        rows, items, nth = self._rows(users)
        scores[rows, items] = 1 / nth
        return scores

    def best(
        self, users: np.ndarray, k: int, exclude: UserItems, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Items and scores (n, k) of (n,) users, best first, -1 and -inf beyond the end of a list.

        ``exclude`` has a row for every user; ``allowed`` (items,) bool restricts the items for all.
        """
        rows, items, nth = self._rows(users)
        keep = ~np.isin(rows * self.n_items + items, exclude.rows(users).keys)
        if allowed is not None:
            keep &= allowed[items]
        rows, items, nth = rows[keep], items[keep], nth[keep]
        place = np.arange(len(rows)) - np.searchsorted(rows, rows)  # rows rise
        rows, items, nth, place = (part[place < k] for part in (rows, items, nth, place))
        found = np.full((len(users), k), -1, dtype=np.int64)
        scores = np.full((len(users), k), -np.inf, dtype=np.float32)
        found[rows, place], scores[rows, place] = items, 1 / nth
        return found, scores

    def _rows(self, users: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of every item in the lists of (n,) users: which of the n, the item, its place from 1."""
        counts = self.lengths[users]
        rows = np.repeat(np.arange(len(users)), counts)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        return rows, self.items[np.repeat(self.indptr[users], counts) + within], within + 1
