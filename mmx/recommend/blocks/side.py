"""The loss of MGCN, and of SMORE after it: an embedding is the behaviour and what contents add."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from mmx.recommend.blocks.batch import unique_padded
from mmx.recommend.blocks.graph import UserItemGraph
from mmx.recommend.blocks.losses import bpr_loss, contrast_of_nodes, l2_of_batch

Triples = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # users, positives, negatives, (B,) each
Parts = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def side_loss(
    triples: Triples,
    graph: UserItemGraph,
    parts: Parts,
    reg: float,
    ssl_weight: float,
    temperature: float,
) -> torch.Tensor:
    """BPR, L2, and InfoNCE of what contents add with the behaviour.

    ``parts`` makes both, (n, k) each, of (n,) nodes of ``graph``. A user or item that is in
    several rows of the batch is in the contrast as often.
    """
    rows = (graph.n_users, graph.n_items, graph.n_items)  # of the tables that they number
    found = [unique_padded(part, n) for part, n in zip(triples, rows, strict=True)]
    sizes = [len(nodes) for nodes, _, _ in found]
    side, behaviour = parts(
        torch.cat([found[0][0], *(part[0] + graph.n_users for part in found[1:])])
    )
    final = (behaviour + side).split(sizes)
    u, i, j = (F.embedding(place, part)
               for (_, place, _), part in zip(found, final, strict=True))  # fmt: skip
    loss = bpr_loss((u * i).sum(1), (u * j).sum(1)) + reg * l2_of_batch(u, i, j)
    contrasts = zip(found[:2], side.split(sizes), behaviour.split(sizes), strict=False)
    ssl = sum(
        contrast_of_nodes(left, right, temperature, counts)
        for (_, _, counts), left, right in contrasts
    )
    return loss + ssl_weight * ssl
