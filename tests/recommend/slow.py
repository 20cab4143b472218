"""Metrics, rankings and propagation from their definitions, with loops."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F

from mmx.recommend.blocks.graph import Sparse
from mmx.recommend.interactions import UserItems
from tests.recommend.toy import ABSENT, N_ITEMS, N_USERS, TAKEN, toy_features, vectors64


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


def step(layer: list[torch.Tensor], taken: Mapping[int, list[int]]) -> list[torch.Tensor]:
    """Equation 3 of LightGCN, node by node, users first: one step over who took what."""
    neighbours = [taken[u] for u in range(N_USERS)]
    takers = [[u for u in range(N_USERS) if i in taken[u]] for i in range(N_ITEMS)]
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
    return users + items


def propagated(
    p: Mapping[str, torch.Tensor], layers: int, taken: Mapping[int, list[int]] = TAKEN
) -> list[torch.Tensor]:
    """Equations 3 and 4 of LightGCN; users first."""
    layer = [p["nodes"][n] for n in range(N_USERS + N_ITEMS)]
    total = list(layer)
    for _ in range(layers):
        layer = step(layer, taken)
        total = [t + new for t, new in zip(total, layer, strict=True)]
    return [t / (layers + 1) for t in total]


def kept_pairs(graph: Sparse) -> dict[int, list[int]]:
    """user → the items that a pruned user-item graph of the toy world still joins to it."""
    taken: dict[int, list[int]] = {user: [] for user in range(N_USERS)}
    for row, column in zip(graph.rows.tolist(), graph.columns.tolist(), strict=True):
        if row < N_USERS:
            taken[row].append(column - N_USERS)
    return taken


def frozen_rows(shares: Mapping[str, float], k: int, *, normalise: bool) -> torch.Tensor:
    """FREEDOM's item graph of the toy world (items, items), float64: sections 3.1 and 3.3.

    k ones in each row, cosine neighbours by sorting, divided by their number; an item without
    a modality leaves its share to the others.
    """
    full = torch.zeros(N_ITEMS, N_ITEMS, dtype=torch.float64)
    for i in range(N_ITEMS):
        having = {m: a for m, a in shares.items() if toy_features(m)[m].present[i]}
        for modality, share in having.items():
            vectors, present = (
                vectors64(modality, normalise),
                toy_features(modality)[modality].present,
            )
            known = [j for j in range(N_ITEMS) if present[j]]
            cosine = {j: float(F.cosine_similarity(vectors[i], vectors[j], dim=0)) for j in known}
            nearest = sorted(known, key=lambda j: -cosine[j])[:k]
            for j in nearest:
                full[i, j] += share / sum(having.values()) / len(nearest)
    return full


def feature(default: torch.Tensor, name: str, item: int, normalise: bool) -> torch.Tensor:
    """An item's vector as a model reads it, or the learned default where it has none."""
    return default if item in ABSENT[name] else vectors64(name, normalise)[item]
