"""Lists that repeat themselves less: a cap for each group of items, and MMR on their vectors.

Maximal marginal relevance builds a list item by item. Of the candidates C, with S chosen already,
the next one is

    argmax_{i ∈ C∖S}  (1 − δ) · r_i  −  δ · max_{j ∈ S} cos(v_i, v_j)

where δ is the diversity (1 − λ of the paper) and r_i the score of i on a scale from 0, the lowest
of the candidates, to 1, the highest, since the scores of models are on scales of their own. The
first item is the best one, whatever δ is. Of equal values the candidate with the better score
wins. An item without a vector is like no other: its cosines are 0. Carbonell and Goldstein, "The
use of MMR, diversity-based reranking for reordering documents and producing summaries", SIGIR 1998.
"""

from __future__ import annotations

import numpy as np

from mmx.search.nearest import GRID

POOL = 5  # candidates of MMR for each item of a list
LEAST = 100  # candidates of MMR, at least
UNCAPPED = -1  # the group of items without a value, of which a list may have any number


def pool_size(k: int) -> int:
    """How many of a user's best items MMR chooses k from, if so many may be shown."""
    return max(LEAST, POOL * k)


def reach_of(keep: np.ndarray, k: int) -> int:
    """How many of a user's best items MMR chooses k from, if (n,) ``keep`` are those within a cap.

    As few as have k to keep, but at least ``pool_size``.
    """
    enough = int(np.searchsorted(np.cumsum(keep), k)) + 1
    return max(enough, pool_size(k))


def within_cap(groups: np.ndarray, most: int) -> np.ndarray:
    """Which of (n, m) items stay, by their groups, if a list has at most ``most`` of each.

    Lists come best first, and the first ones stay: (n, m) bool. A list that is cut anywhere keeps
    what it keeps as a whole.
    """
    order = np.argsort(groups, axis=1, kind="stable")
    sorted_groups = np.take_along_axis(groups, order, 1)
    place = np.broadcast_to(np.arange(groups.shape[1]), groups.shape)
    starts = np.ones(groups.shape, dtype=bool)
    starts[:, 1:] = sorted_groups[:, 1:] != sorted_groups[:, :-1]
    nth = place - np.maximum.accumulate(np.where(starts, place, 0), axis=1)
    keep = np.empty(groups.shape, dtype=bool)
    np.put_along_axis(keep, order, nth < most, 1)
    return keep | (groups == UNCAPPED)


def mmr(
    scores: np.ndarray,
    vectors: np.ndarray,
    k: int,
    diversity: float,
    groups: np.ndarray | None = None,
    most: int = 0,
) -> np.ndarray:
    """Places of at most k of m candidates, in the order of the list.

    ``scores`` (m,) come best first and are finite; ``vectors`` (m, d) are of any length, zero where
    there is none. ``groups`` (m,) of the candidates cap the list at ``most`` items of each.
    """
    if not len(scores):
        return np.zeros(0, np.int64)
    gain = (1 - diversity) * _scaled(scores)
    own = units(vectors)
    nearest = np.zeros(len(scores))  # of each candidate the highest cosine with the list
    may = np.ones(len(scores), dtype=bool)
    chosen: list[int] = []
    while len(chosen) < k and may.any():
        best = int(np.where(may, gain - diversity * nearest, -np.inf).argmax()) if chosen else 0
        alike = on_grid(own @ own[best])
        nearest = np.maximum(nearest, alike) if chosen else alike
        chosen.append(best)
        may[best] = False
        if groups is not None and groups[best] != UNCAPPED:
            may &= (groups != groups[best]) | (int((groups[chosen] == groups[best]).sum()) < most)
    return np.array(chosen, np.int64)


def units(vectors: np.ndarray) -> np.ndarray:
    """(n, d) float64 of norm 1, zero where a vector is zero."""
    wide = vectors.astype(np.float64)
    norms = np.sqrt((wide * wide).sum(1, keepdims=True))
    return np.asarray(wide / np.where(norms > 0, norms, 1))


def on_grid(cosines: np.ndarray) -> np.ndarray:
    """Rounded, so that those that differ by the rounding of float64 are equal."""
    return np.asarray(np.rint(cosines / GRID) * GRID + 0.0)


def _scaled(scores: np.ndarray) -> np.ndarray:
    """(m,) float64 from 0 to 1; 0 where all are equal."""
    wide = scores.astype(np.float64)
    span = wide.max() - wide.min()
    return np.asarray((wide - wide.min()) / (span or 1))
