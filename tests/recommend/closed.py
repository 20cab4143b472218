"""What the tests of closed forms share: models on the toy world, and slow references of loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from mmx.recommend.blocks.item_item import ItemItem
from mmx.recommend.interactions import UserItems
from mmx.recommend.models import find_model
from mmx.recommend.protocol import World
from tests.recommend.toy import ABSENT, N_ITEMS, N_USERS, TAKEN, toy_features

X = np.array([[float(i in TAKEN[u]) for i in range(N_ITEMS)] for u in range(N_USERS)])


def scores_of(name: str, world: World, **settings: Any) -> np.ndarray:
    module = find_model(name).load()
    return zeros(module.fit(module.Config(**settings), world).scores(np.arange(world.n_users)))


def zeros(scores: np.ndarray) -> np.ndarray:
    """With 0 where nothing is known, as the papers' formulas have it."""
    assert (scores != 0).all()  # a sum of nothing is -inf instead
    return np.where(np.isneginf(scores), 0, scores)


def weights_of(name: str, world: World, **settings: Any) -> np.ndarray:
    """Row j: what a user with item j alone scores."""
    module = find_model(name).load()
    scorer = module.fit(module.Config(**settings), world)
    assert isinstance(scorer, ItemItem)
    alone = UserItems.from_pairs(np.arange(N_ITEMS), np.arange(N_ITEMS), N_ITEMS, N_ITEMS)
    return zeros(scorer.scores_of(alone))


def summed(w: np.ndarray) -> np.ndarray:
    """Scores of the toy users from (items, items) weights, with loops."""
    out = np.zeros((N_USERS, N_ITEMS))
    for user, items in TAKEN.items():
        for j in items:
            for i in range(N_ITEMS):
                out[user, i] += w[j, i]
    return out


def neighbours(similar: Callable[[int, int], float], count: int) -> np.ndarray:
    """The ``count`` most similar other items of each item where that is above 0."""
    w = np.zeros((N_ITEMS, N_ITEMS))
    for j in range(N_ITEMS):
        others = sorted((i for i in range(N_ITEMS) if i != j), key=lambda i: (-similar(j, i), i))
        for i in others[:count]:
            w[j, i] = max(similar(j, i), 0.0)
    return w


def cosine(name: str, j: int, i: int) -> float:
    """Of two items' vectors, each minus the mean of all that there are."""
    matrix = toy_features(name)[name].matrix.astype(float)
    known = [row for n, row in enumerate(matrix) if n not in ABSENT[name]]
    mean = sum(known) / len(known)
    a, b = ((matrix[n] - mean).tolist() for n in (j, i))
    dot = sum(p * q for p, q in zip(a, b, strict=True))
    return dot / math.sqrt(sum(p * p for p in a) * sum(q * q for q in b))


def slow_ease(gram: np.ndarray, reg: float) -> np.ndarray:
    """Column j by itself: least squares on all other items, in float64."""
    items = len(gram)
    b = np.zeros((items, items))
    for j in range(items):
        others = [i for i in range(items) if i != j]
        left = gram[np.ix_(others, others)] + reg * np.eye(items - 1)
        b[others, j] = np.linalg.solve(left, gram[others, j])
    return b


def normal(world: World, shares: dict[str, float]) -> np.ndarray:
    """FFᵀ of the toy items in float64: a weighted sum of cosines, 0 where a vector is absent."""
    out = np.zeros((N_ITEMS, N_ITEMS))
    for j in range(N_ITEMS):
        for i in range(N_ITEMS):
            for m, share in shares.items():
                if not {j, i} & set(ABSENT[m]):
                    out[j, i] += share * cosine(m, j, i)
    return out
