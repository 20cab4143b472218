"""Metrics beyond accuracy, each a pure function of ranked lists.

``ranked`` is (users, K) int64 item numbers, best first, -1 where there is no item. ``counts`` is
(items,) how many training interactions each item of the catalogue has. A function of one list
returns (users,) float64, NaN for a user whose list is too short to have a value; ``mean_of``
averages it over the others.
"""

from __future__ import annotations

import numpy as np

from mmx.data.inequality import gini_of
from mmx.recommend.interactions import UserItems

CELLS_AT_ONCE = 4_000_000  # of the vectors of lists


def coverage(ranked: np.ndarray, n_items: int) -> float:
    """Catalogue coverage: different items in the lists / items of the catalogue.

    Ge, Delgado-Battenfeld and Jannach, "Beyond accuracy", RecSys 2010.
    """
    return len(np.unique(ranked[ranked >= 0])) / n_items


def gini(ranked: np.ndarray, n_items: int) -> float:
    """Gini index of how often each item of the catalogue is in a list; items in none count too.

    0 where all items are shown equally often, (n - 1)/n where one item fills all lists; NaN of no
    list. Fleder and Hosanagar, "Blockbuster culture's next rise or fall", Management Science 2009.
    """
    return gini_of(np.bincount(ranked[ranked >= 0], minlength=n_items))


def novelty(ranked: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean self-information of the items of a list: -log2(n_i / Σ_j n_j), in bits.

    n_i are the training interactions of an item; one without any counts as one with a single
    interaction. Zhou et al., "Solving the apparent diversity-accuracy dilemma", PNAS 2010, who
    divide by the number of users instead, which adds the same to every value.
    """
    information = np.log2(max(counts.sum(), 1)) - np.log2(np.maximum(counts, 1))
    return _means(ranked, information)


def popularity(ranked: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Average recommendation popularity: mean training interactions of the items of a list.

    Yin et al., "Challenging the long tail recommendation", VLDB 2012.
    """
    return _means(ranked, counts)


def popularity_lift(ranked: np.ndarray, counts: np.ndarray, profiles: UserItems) -> float:
    """How much more popular the lists are than what their users took: (L - P) / P.

    P is the mean over users of the mean popularity of their training items, the rows of
    ``profiles``; L the same of their lists. Users without a list, or a profile, count in neither.
    0: as popular as what they took. Abdollahpouri, Mansoury, Burke and Mobasher, "The connection
    between popularity bias, calibration, and fairness in recommendation", RecSys 2020.
    """
    shown = popularity(ranked, counts)
    totals = np.bincount(profiles.users, counts[profiles.indices], minlength=len(ranked))
    both = ~np.isnan(shown) & (profiles.counts > 0)
    if not both.any():
        return float("nan")
    taken = float((totals[both] / profiles.counts[both]).mean())
    return (float(shown[both].mean()) - taken) / taken if taken else float("nan")


def diversity_of_vectors(
    ranked: np.ndarray, vectors: np.ndarray, present: np.ndarray
) -> np.ndarray:
    """Intra-list diversity: 1 - mean cosine similarity of the pairs of items in a list.

    ``vectors`` is (items, d), ``present`` (items,) bool. Items without a vector, or of length 0,
    are in no pair; NaN of a list with fewer than two others. Ziegler et al., "Improving
    recommendation lists through topic diversification", WWW 2005.
    """
    found = np.full(len(ranked), np.nan)
    step = max(1, CELLS_AT_ONCE // max(ranked.shape[1] * vectors.shape[1], 1))
    for start in range(0, len(ranked), step):
        block = ranked[start : start + step]
        rows, columns = np.nonzero((block >= 0) & present[block])
        mine = vectors[block[rows, columns]].astype(np.float64)
        norms = np.linalg.norm(mine, axis=1)
        rows, units = rows[norms > 0], mine[norms > 0] / norms[norms > 0, None]
        sizes, sums = np.bincount(rows, minlength=len(block)), np.zeros((len(block), mine.shape[1]))
        which, starts = np.unique(rows, return_index=True)
        sums[which] = np.add.reduceat(units, starts) if len(which) else 0
        alike = (sums**2).sum(1) - sizes  # cosines of all ordered pairs
        found[start : start + step] = _unlike(alike, sizes)
    return found


def diversity_of_categories(ranked: np.ndarray, categories: np.ndarray) -> np.ndarray:
    """Intra-list diversity: the share of the pairs of items in a list with other categories.

    ``categories`` is (items,) int64, negative for an item without one, which is in no pair. NaN
    of a list with fewer than two others. As Ziegler et al., with 1 for the same category and 0 for
    another as the similarity.
    """
    mine = np.where(ranked >= 0, categories[ranked], -1)
    rows, _ = np.nonzero(mine >= 0)
    kinds = int(categories.max(initial=-1)) + 1
    pairs, times = np.unique(rows * max(kinds, 1) + mine[mine >= 0], return_counts=True)
    alike = np.bincount(pairs // max(kinds, 1), times * (times - 1.0), minlength=len(ranked))
    return _unlike(alike, np.bincount(rows, minlength=len(ranked)))


def mean_of(values: np.ndarray) -> float:
    """Mean over the users that have a value; NaN where none has."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else float("nan")


def _means(ranked: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(users,) mean of what the items of each list have."""
    there = ranked >= 0
    sums = np.where(there, values[ranked], 0.0).sum(1)
    sizes = there.sum(1)
    return np.divide(sums, sizes, out=np.full(len(ranked), np.nan), where=sizes > 0)


def _unlike(alike: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """1 - the mean similarity, of its sum over all ordered pairs of lists of these sizes."""
    pairs = sizes * (sizes - 1.0)
    nothing = np.full(len(alike), np.nan)
    return 1 - np.divide(alike, pairs, out=nothing, where=pairs > 0)
