"""Edge pruning: each epoch trains on a random part of the user-item graph; scoring takes it whole.

Zhou and Shen, "A Tale of Two Graphs: Freezing and Denoising Graph Structures for Multimodal
Recommendation", MM 2023 (arXiv 2211.06924), section 3.2. An edge between a popular item and a
busy user is dropped more often than one that a node has little else beside.
"""

from __future__ import annotations

import math

import torch

from mmx.recommend.blocks.graph import Sparse, UserItemGraph

ROUNDING = 1e-9  # (1 - 0.8) · 10 is a little less than 2 in floating point


def pruned(graph: UserItemGraph, share: float, generator: torch.Generator) -> Sparse:
    """D^-½ A D^-½ of the pairs that are left when a ``share`` ρ of them is dropped.

    ⌊(1 - ρ)·pairs⌋ are kept, at least one, drawn without replacement in proportion to
    1/√(d_u d_i); D counts what was kept. ρ = 0 returns the graph itself and draws nothing.
    ``generator`` is on the graph's device. The nodes are those of ``graph``.
    """
    if not share or not len(graph.users):
        return graph
    weights = graph.weights(torch.ones_like(graph.users, dtype=torch.bool))  # (pairs,)
    count = max(1, math.floor((1 - share) * len(weights) + ROUNDING))
    return _of_pairs(graph, draw(weights, count, generator))


def draw(weights: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """``count`` numbers of the (n,) weights > 0, drawn one by one without replacement.

    The smallest of the times e_k/w_k, e_k drawn from Exp(1), come in that very order (Efraimidis
    and Spirakis, Information Processing Letters 2006). ``torch.multinomial`` draws the same way
    and stops at 2²⁴ weights.
    """
    times = torch.empty_like(weights).exponential_(generator=generator) / weights
    return times.topk(count, largest=False).indices


def _of_pairs(graph: UserItemGraph, pairs: torch.Tensor) -> Sparse:
    """The graph of the (n,) numbered pairs alone, normalised by their own degrees."""
    kept = torch.zeros_like(graph.users, dtype=torch.bool)
    kept[pairs] = True
    users, items = graph.users[kept], graph.items[kept] + graph.n_users
    weights = graph.weights(kept)[kept]
    rows, columns = torch.cat([users, items]), torch.cat([items, users])
    return Sparse(rows, columns, weights.repeat(2), graph.shape)
