"""Equal scores in spite of rounding.

A matrix product sums in another order at another place of the matrix: the scores of two equal
vectors may differ in the last bit. Where two scores of a list are that close, the list is scored
again, each pair for itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mmx.recommend.best import Best
from mmx.recommend.interactions import UserItems
from mmx.search.on_device import fetched, products_with_all

if TYPE_CHECKING:
    from mmx.search.on_device import Matrix

SPARE = 4  # items kept beyond a list, in case they tie with its last
CLOSE = 4 * 2.0**-24  # of the lengths multiplied, and of the root of how many numbers are summed
CELLS = 1 << 22  # numbers of vectors, or scores, at once


@dataclass(frozen=True)
class UserItemVectors:
    """Of n users and m items, both on the CPU or on one device, and how long they are."""

    users: Matrix  # (n, d)
    items: Matrix  # (m, d)
    user_lengths: np.ndarray  # (n,)
    item_lengths: np.ndarray  # (m,)

    def close(self, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """(r,) users and (r, j) items → (r, j): what rounding may change."""
        share = np.float32(CLOSE * self.users.shape[1] ** 0.5)
        return np.asarray(self.user_lengths[rows, None] * share * self.item_lengths[items])

    def scores(self, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """(r,) users and (r,) items → (r,) float32, the same wherever a pair is."""
        found = np.empty(len(rows), np.float32)
        step = max(1, CELLS // self.users.shape[1])
        for start in range(0, len(rows), step):
            one = slice(start, start + step)
            left, right = fetched(self.users, rows[one]), fetched(self.items, items[one])
            found[one] = np.einsum("ij,ij->i", left, right, dtype=np.float64)
        return found


def settled(
    vectors: UserItemVectors, best: Best, k: int, hidden: UserItems, pool: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Items and scores (n, k) from the best k + SPARE or, at most, all of the pool."""
    items, scores = best.lists()
    slack = 2 * vectors.close(np.arange(len(items)), items)
    with np.errstate(invalid="ignore"):  # -inf less -inf is not close
        near = (scores[:, :-1] - scores[:, 1:] <= slack[:, :-1])[:, :k].any(axis=1)
        more = scores[:, k - 1] - scores[:, -1] <= slack[:, k - 1]  # may be beyond what is kept
    more &= items.shape[1] < len(pool)
    kept = np.flatnonzero(near & ~more)
    rows, columns = np.nonzero(items[kept] >= 0)
    _again(vectors, best, kept[rows], items[kept][rows, columns])
    _widened(vectors, best, np.flatnonzero(more), (scores - slack)[more, k - 1], hidden, pool)
    items, scores = best.lists()
    return items[:, :k], scores[:, :k]


def _widened(
    vectors: UserItemVectors,
    best: Best,
    users: np.ndarray,
    least: np.ndarray,
    hidden: UserItems,
    pool: np.ndarray,
) -> None:
    """Score again, for some users, all that reaches their least."""
    step = max(1, CELLS // max(vectors.items.shape[0], 1))
    for start in range(0, len(users), step):
        mine = users[start : start + step]
        scores = products_with_all(vectors.users, mine, vectors.items)
        masked = hidden.rows(mine)
        scores[masked.users, masked.indices] = -np.inf
        rows, places = np.nonzero(scores[:, pool] >= least[start : start + step, None])
        _again(vectors, best, mine[rows], pool[places])


def _again(vectors: UserItemVectors, best: Best, rows: np.ndarray, items: np.ndarray) -> None:
    """Replace what is known of some users by these candidates."""
    users, rows_of = np.unique(rows, return_inverse=True)
    best.forget(users)
    best.add(users, rows_of, vectors.scores(rows, items), items)
