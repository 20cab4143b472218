"""Drawn exclusions, and the comparison of a ranking with what sorting found."""

from __future__ import annotations

import numpy as np

from mmx.recommend.interactions import UserItems
from mmx.recommend.scoring import Ranking


def excluded(share: float, users: int, items: int, rng: np.random.Generator) -> UserItems:
    rows, columns = np.nonzero(rng.random((users, items)) < share)
    return UserItems.from_pairs(rows, columns, users, items)


def check(found: Ranking, expected: list[list[int]], scores: np.ndarray, users: np.ndarray) -> None:
    widest = max((len(best) for best in expected), default=0)
    assert widest <= found.items.shape[1] <= scores.shape[1]
    width = found.items.shape[1]
    assert found.items.tolist() == [best + [-1] * (width - len(best)) for best in expected]
    for row, user in enumerate(users):
        for item, score in zip(found.items[row], found.scores[row], strict=True):
            assert score == (-np.inf if item < 0 else scores[user, item])
