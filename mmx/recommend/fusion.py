"""Several recommenders as one: a weighted sum of their scores, made comparable user by user.

A part's scores of a user are put on one scale first: minus their mean, divided by their
standard deviation, both over the items that the user did not take in training (z-scores; Fox and
Shaw's CombSUM, "Combination of Multiple Searches", TREC-2 1994, on normalised scores). A part
that scores everything alike says nothing and counts 0.

The weights come from validation alone, by forward selection with replacement (Caruana,
Niculescu-Mizil, Crew and Ksikes, "Ensemble Selection from Libraries of Models", ICML 2004):
begin with the best single part, then again and again give one more vote to the part with which
validation Recall@20 is highest; a part's weight is its share of the votes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mmx.recommend.interactions import Interactions, UserItems
from mmx.recommend.scoring import CHUNK_BYTES, Scorer, best_of

VOTES = 20  # weights are multiples of at least 1/20
DEPTH = 200  # best items of each part that compete while weights are learned
USERS = 20_000  # validation users the weights are learned on, drawn at random
CUTOFF = 20


@dataclass(frozen=True)
class Fused:
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
        for part, weight in zip(self.parts, self.weights, strict=True):
            if weight:
                total += np.float32(weight) * z_scores(part.scores(users), self.train.rows(users))
        return total


def z_scores(scores: np.ndarray, taken: UserItems) -> np.ndarray:
    """(n, items) scores, changed in place: (s − mean) / deviation over the items not taken."""
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


def learned_weights(parts: Sequence[Scorer], data: Interactions, seed: int = 0) -> list[float]:
    """One weight for each part, chosen on validation Recall@20 (see above); equal without it."""
    users = np.flatnonzero((data.valid.counts > 0) & (data.train.counts > 0))
    if not len(users):
        return [1 / len(parts)] * len(parts)
    if len(users) > USERS:
        users = np.sort(np.random.default_rng(seed).choice(users, USERS, replace=False))
    step = max(1, CHUNK_BYTES // (4 * data.train.n_items * (len(parts) + 3)))
    blocks = [users[start : start + step] for start in range(0, len(users), step)]
    rows = [_candidates(parts, block, data) for block in blocks]
    scores = torch.cat([s for s, _ in rows], 1)  # (parts, users, m)
    relevant = torch.cat([r for _, r in rows])  # (users, m), hits / held-out items
    votes = _elected(scores, relevant)
    return [float(v) for v in votes / votes.sum()]


def _elected(scores: torch.Tensor, relevant: torch.Tensor) -> np.ndarray:
    """Votes (parts,) after the round whose recall was highest; the earliest such round."""
    parts = len(scores)
    votes, total = np.zeros(parts), torch.zeros_like(scores[0])
    best, best_votes = -1.0, votes
    for _ in range(VOTES):
        recalls = [_recall(total + scores[part], relevant) for part in range(parts)]
        part = int(np.argmax(recalls))
        votes = votes + (np.arange(parts) == part)
        total += scores[part]
        if recalls[part] > best:
            best, best_votes = recalls[part], votes
    return best_votes


def _recall(scores: torch.Tensor, relevant: torch.Tensor) -> float:
    places = scores.topk(min(CUTOFF, scores.shape[1])).indices
    return float(relevant.gather(1, places).sum(1).mean())


def _candidates(
    parts: Sequence[Scorer], users: np.ndarray, data: Interactions
) -> tuple[torch.Tensor, torch.Tensor]:
    """z-scores (parts, n, m) of each part's best items, and what a hit there is worth (n, m)."""
    taken, held_out = data.train.rows(users), data.valid.rows(users)
    depth = min(DEPTH, data.train.n_items)
    scored, places = [], []
    for part in parts:
        scores = z_scores(part.scores(users), taken)
        scores[taken.users, taken.indices] = -np.inf
        scored.append(scores)
        places.append(best_of(scores, depth)[1])
    items = np.sort(np.concatenate(places, axis=1), axis=1)  # (n, m)
    twice = np.zeros(items.shape, dtype=bool)
    twice[:, 1:] = items[:, 1:] == items[:, :-1]
    values = np.stack([np.take_along_axis(scores, items, 1) for scores in scored])
    values[:, twice] = -np.inf
    worth = held_out.found_in(items) / held_out.counts[:, None]
    return torch.from_numpy(values), torch.from_numpy(worth.astype(np.float32))
