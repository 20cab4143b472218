"""A scorer made of others: a weighted sum of their scores, put on one scale user by user.

A part's scores of a user become z-scores first: minus their mean, divided by their standard
deviation, both over the items that the user did not take in training. Then they add up (Fox and
Shaw's CombSUM, "Combination of Multiple Searches", TREC-2, 1994, weighted and on z-scores). A part
that scores all items the same counts 0. An item that a part cannot score has score 0 there; one
that no part can score is not recommended.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmx.recommend.interactions import UserItems
from mmx.recommend.scoring import Scorer


@dataclass(frozen=True)
class Ensemble:
    """Weighted sum of the parts' z-scores."""

    parts: tuple[Scorer, ...]
    weights: tuple[float, ...]  # one for each part, sum 1
    train: UserItems  # what each user took, left out of mean and deviation

    @property
    def n_items(self) -> int:
        """Items of the catalogue."""
        return self.parts[0].n_items

    def scores(self, users: np.ndarray) -> np.ndarray:
        """(n,) user numbers → (n, items)."""
        total = np.zeros((len(users), self.n_items), dtype=np.float32)
        unknown = np.ones(total.shape, dtype=bool)
        for part, weight in zip(self.parts, self.weights, strict=True):
            if weight:
                scores = part.scores(users)
                unknown &= np.isneginf(scores)
                total += np.float32(weight) * z_scores(scores, self.train.rows(users))
        total[unknown] = -np.inf
        return total


def z_scores(scores: np.ndarray, taken: UserItems) -> np.ndarray:
    """(n, items) scores, changed in place: (s − mean) / deviation over the items not taken.

    -inf, where nothing is known, counts as 0.
    """
    scores[np.isneginf(scores)] = 0
    count = np.maximum(scores.shape[1] - taken.counts, 1)[:, None]
    scores -= (_sums(scores, taken) / count).astype(np.float32)
    deviation = np.sqrt(_sums(np.square(scores), taken) / count)  # (n, 1)
    scores *= np.divide(1, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    return scores


def _sums(values: np.ndarray, taken: UserItems) -> np.ndarray:
    """(n, 1) float64 sums over the items not taken."""
    mine = values[taken.users, taken.indices].astype(np.float64)
    of_taken = np.bincount(taken.users, weights=mine, minlength=len(values))
    return np.asarray(values.sum(1, dtype=np.float64) - of_taken)[:, None]
