"""The best items of many users so far, as whole numbers that sort as scores and then by item."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEAST = np.finfo(np.float32).min  # a product that is known
NONE = np.iinfo(np.int64).min  # the key of nothing
ITEM = np.int64(0xFFFFFFFF)  # bits of the item in a key


@dataclass(frozen=True)
class Best:
    """The best items of some users so far, as keys that rise to the best."""

    keys: np.ndarray  # (n, K) int64
    least: np.ndarray  # (n,) float32 score of the K-th; LEAST where there are fewer

    @classmethod
    def none(cls, n: int, k: int) -> Best:
        """Of n users before anything was multiplied."""
        return cls(np.full((n, k), NONE), np.full(n, LEAST, np.float32))

    @classmethod
    def of(cls, scores: np.ndarray, items: np.ndarray) -> Best:
        """Of n users (n, K) candidates in any order; one of score -inf is none."""
        keys = keys_of(scores, items)
        keys[np.isneginf(scores)] = NONE
        keys.sort(axis=1)
        full = keys[:, 0] > NONE
        return cls(keys, np.where(full, scores_of(keys[:, 0]), np.float32(LEAST)))

    def add(
        self, users: np.ndarray, rows: np.ndarray, scores: np.ndarray, items: np.ndarray
    ) -> None:
        """(m,) candidates of ``users[rows]``; no item twice. Threads add for different users."""
        k, count = self.keys.shape[1], np.bincount(rows, minlength=len(users))
        mine, width = np.flatnonzero(count), k + int(count.max(initial=0))
        table = np.full((len(mine), width), NONE)
        table[:, :k] = self.keys[users[mine]]
        small = rows.astype(np.uint16) if len(users) < 1 << 16 else rows  # NumPy's fastest
        order = np.argsort(small, kind="stable")
        first = np.arange(len(mine)) * width + k - (np.cumsum(count) - count)[mine]
        places = np.repeat(first, count[mine]) + np.arange(len(rows))
        table.ravel()[places] = keys_of(scores[order], items[order])
        table.sort(axis=1)
        self.keys[users[mine]] = table[:, -k:]
        full = table[:, -k] > NONE
        self.least[users[mine[full]]] = scores_of(table[full, -k])

    def forget(self, users: np.ndarray) -> None:
        """As if nothing was known of some users."""
        self.keys[users], self.least[users] = NONE, LEAST

    def lists(self) -> tuple[np.ndarray, np.ndarray]:
        """Items and scores (n, K), best first; -1 and -inf where there are no more."""
        keys = self.keys[:, ::-1]
        items, scores = ~keys & ITEM, scores_of(keys)
        items[keys == NONE], scores[keys == NONE] = -1, -np.inf
        return items, scores


def keys_of(scores: np.ndarray, items: np.ndarray) -> np.ndarray:
    """float32 scores and item numbers → int64 that rise with the score, then with falling number.

    The bits of a float, read as a signed number with the negative ones flipped, sort as it does.
    """
    bits = (scores + np.float32(0)).view(np.int32)  # -0.0 becomes 0.0
    bits ^= (bits >> 31) & np.int32(0x7FFFFFFF)
    return (bits.astype(np.int64) << 32) | (ITEM ^ items)


def scores_of(keys: np.ndarray) -> np.ndarray:
    """The scores of keys."""
    bits = (keys >> 32).astype(np.int32)
    bits ^= (bits >> 31) & np.int32(0x7FFFFFFF)
    return bits.view(np.float32)
