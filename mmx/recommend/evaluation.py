"""Full-ranking evaluation: every item of the catalogue competes, training items are masked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mmx.recommend.interactions import Interactions, UserItems
from mmx.recommend.metrics import CUTOFFS, all_metrics
from mmx.recommend.scoring import Scorer, rank
from mmx.recommend.validation import evaluated_users

CELLS_AT_ONCE = 4_000_000  # of the rankings and the hit matrix


@dataclass(frozen=True)
class Evaluation:
    """Metrics of each evaluated user."""

    users: np.ndarray  # (n,) user numbers
    relevant: np.ndarray  # (n,) held-out items of each
    metrics: dict[str, np.ndarray]  # "recall@20" → (n,)
    items: int  # different held-out items that count
    unscored: int  # users with held-out items but none in training: left out

    @property
    def means(self) -> dict[str, float]:
        """Each metric averaged over users; NaN when no user could be evaluated."""
        if not len(self.users):
            return dict.fromkeys(self.metrics, float("nan"))
        return {name: float(values.mean()) for name, values in self.metrics.items()}


def evaluate_scorer(
    scorer: Scorer,
    held_out: UserItems,
    train: UserItems,
    *,
    cutoffs: tuple[int, ...] = CUTOFFS,
    targets: np.ndarray | None = None,
    share: slice = slice(None),
) -> Evaluation:
    """Rank the whole catalogue for every user with held-out items.

    Training items are masked. Users without held-out items are left out, and so are users
    without training items, whom a trained model cannot know. ``targets`` (items,) bool counts
    only those held-out items as relevant; all items still compete. ``share`` says which of the
    users are evaluated here, where several processes do it together.
    """
    if targets is not None:
        held_out = only(held_out, targets)
    everyone = evaluated_users(held_out, train)
    users = everyone[share]
    relevant = held_out.counts[users]
    parts = []
    for rows in _blocks(len(users), min(max(cutoffs), scorer.n_items)):
        ranked = rank(scorer, users[rows], max(cutoffs), train).items
        hits = hit_matrix(ranked, users[rows], held_out)
        parts.append(all_metrics(hits, relevant[rows], cutoffs))
    metrics = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return evaluation_of(users, metrics, held_out, len(everyone))


def evaluation_of(
    users: np.ndarray, metrics: dict[str, np.ndarray], held_out: UserItems, evaluated: int
) -> Evaluation:
    """What is known of (n,) users and their metrics; so many users are evaluated in all."""
    different = len(np.unique(held_out.rows(users).indices))
    unscored = int((held_out.counts > 0).sum()) - evaluated
    return Evaluation(users, held_out.counts[users], metrics, different, unscored)


def evaluate_splits(scorer: Scorer, data: Interactions) -> dict[str, Evaluation]:
    """What metrics.json is made of."""
    parts = evaluated_splits(data).items()
    return {name: evaluate_scorer(scorer, part, data.known) for name, part in parts}


def evaluated_splits(data: Interactions) -> dict[str, UserItems]:
    """The held-out splits of metrics.json; a run looks at the test split once, at its end."""
    return {"valid": data.valid, "test": data.test}


def hit_matrix(ranked: np.ndarray, users: np.ndarray, held_out: UserItems) -> np.ndarray:
    """(n, K) ranked items of (n,) users → (n, K) bool, False where there is no item (-1)."""
    return held_out.rows(users).found_in(ranked)


def _blocks(rows: int, width: int) -> Iterator[slice]:
    step = max(1, CELLS_AT_ONCE // max(width, 1))
    for start in range(0, max(rows, 1), step):
        yield slice(start, min(start + step, rows))


def only(matrix: UserItems, items: np.ndarray) -> UserItems:
    """The matrix with only the (items,) bool columns filled."""
    keep = items[matrix.indices]
    return UserItems.from_pairs(
        matrix.users[keep], matrix.indices[keep], matrix.n_users, matrix.n_items
    )
