"""Ranking metrics, each a pure function of a hit matrix.

``hits`` is (users, K) bool: whether the item at rank r of a user's list is relevant.
``relevant`` is (users,) int ≥ 1: how many relevant items the user has in all. A catalogue
shorter than K has a hit matrix with fewer columns; the ranks beyond it count as misses.
Every function returns (users,) float64.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def recall(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """Recall@K = hits among the first K / relevant items (not capped at K)."""
    return np.asarray(hits[:, :k].sum(1) / relevant)


def precision(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """Precision@K = hits among the first K / K, also where the list is shorter than K."""
    return np.asarray(hits[:, :k].sum(1) / k)


def hit_rate(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """HitRate@K = 1 if any of the first K is relevant."""
    return np.asarray(hits[:, :k].any(1), dtype=np.float64)


def mrr(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """MRR@K = 1 / rank of the first relevant item, 0 if none is among the first K."""
    head = hits[:, :k]
    first = head.argmax(1) if head.shape[1] else np.zeros(len(head), dtype=np.int64)
    return np.where(head.any(1), 1.0 / (first + 1), 0.0)


def average_precision(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """MAP@K per user = Σ over hit ranks r ≤ K of precision@r / min(K, relevant)."""
    users, places = np.nonzero(hits[:, :k])  # few, and user by user
    nth = np.arange(len(users)) - np.searchsorted(users, users) + 1  # hit of its user
    return _sums(users, nth / (places + 1), len(hits)) / np.minimum(relevant, k)


def ndcg(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """NDCG@K with gains 0/1 and discount 1/log2(rank + 1).

    The ideal list has min(K, relevant) hits first (Järvelin and Kekäläinen, TOIS 2002).
    """
    reach = min(k, max(hits.shape[1], int(relevant.max(initial=0))))  # ranks that matter
    discount = 1.0 / np.log2(np.arange(2, reach + 2))
    ideal = np.concatenate([[0.0], discount.cumsum()])
    users, places = np.nonzero(hits[:, :k])
    return _sums(users, discount[places], len(hits)) / ideal[np.minimum(relevant, k)]


def _sums(users: np.ndarray, values: np.ndarray, n_users: int) -> np.ndarray:
    return np.bincount(users, weights=values, minlength=n_users)


METRICS: dict[str, Callable[[np.ndarray, np.ndarray, int], np.ndarray]] = {
    "recall": recall,
    "ndcg": ndcg,
    "precision": precision,
    "map": average_precision,
    "hitrate": hit_rate,
    "mrr": mrr,
}
CUTOFFS = (5, 10, 20, 50)
MEASURED = ("recall@10", "ndcg@10", "recall@20", "ndcg@20")  # as the paper's tables


def all_metrics(
    hits: np.ndarray, relevant: np.ndarray, cutoffs: tuple[int, ...] = CUTOFFS
) -> dict[str, np.ndarray]:
    """Every metric at every cut-off: "recall@20" → (users,)."""
    return {
        f"{name}@{k}": metric(hits, relevant, k)
        for name, metric in METRICS.items()
        for k in cutoffs
    }
