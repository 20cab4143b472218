"""Metrics, rankings and propagation from their definitions, with loops."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch

from mmx.recommend.interactions import UserItems
from tests.recommend.toy import N_ITEMS, N_USERS, TAKEN


def slow_metric(name: str, hits: list[bool], relevant: int, k: int) -> float:
    """One user's metric from the definition, with loops."""
    ranks = [rank for rank, hit in enumerate(hits, start=1) if hit and rank <= k]
    if name == "recall":
        return len(ranks) / relevant
    if name == "precision":
        return len(ranks) / k
    if name == "hitrate":
        return 1.0 if ranks else 0.0
    if name == "mrr":
        return 1.0 / ranks[0] if ranks else 0.0
    best = min(k, relevant)
    if name == "map":
        return sum((n + 1) / rank for n, rank in enumerate(ranks)) / best
    assert name == "ndcg"
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, best + 1))
    return sum(1 / math.log2(rank + 1) for rank in ranks) / ideal


def slow_rank(
    scores: np.ndarray, users: np.ndarray, k: int, exclude: UserItems, allowed: np.ndarray | None
) -> list[list[int]]:
    """Item numbers by falling score, equal ones by rising number."""
    lists = []
    for user in users.tolist():
        hidden = set(exclude.indices[exclude.indptr[user] : exclude.indptr[user + 1]].tolist())
        pool = [
            item
            for item in range(scores.shape[1])
            if item not in hidden
            and (allowed is None or allowed[item])
            and scores[user, item] > -np.inf
        ]
        best = sorted(pool, key=lambda item: (-scores[user, item], item))[:k]
        lists.append(best)
    return lists


def propagated(p: Mapping[str, torch.Tensor], layers: int) -> list[torch.Tensor]:
    """Equations 3 and 4, node by node; users first."""
    neighbours = [TAKEN[u] for u in range(N_USERS)]
    takers = [[u for u in range(N_USERS) if i in TAKEN[u]] for i in range(N_ITEMS)]
    layer = [p["nodes"][n] for n in range(N_USERS + N_ITEMS)]
    total = list(layer)
    for _ in range(layers):
        zero = torch.zeros_like(layer[0])
        users = [
            sum((layer[N_USERS + i] / (len(neighbours[u]) * len(takers[i])) ** 0.5
                 for i in neighbours[u]), zero)
            for u in range(N_USERS)
        ]  # fmt: skip
        items = [
            sum((layer[u] / (len(neighbours[u]) * len(takers[i])) ** 0.5 for u in takers[i]), zero)
            for i in range(N_ITEMS)
        ]
        layer = users + items
        total = [t + new for t, new in zip(total, layer, strict=True)]
    return [t / (layers + 1) for t in total]
