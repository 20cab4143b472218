"""LayerGCN: every layer of the graph counts as much as it resembles a node's own embedding.

Zhou, Lin, Liu and Miao, "Layer-refined Graph Convolutional Networks for Recommendation", ICDE 2023
(arXiv 2207.11088). The own embedding itself, layer 0, is not part of the sum; so a user or an item
without training interactions has no vector, and nothing is known of it.

Equations: those of the whole method, without their numbers.

Released code: drops pairs by their degrees in one epoch and uniformly in the next; here it is by
their degrees in all, as the paper's text has it. It sums the loss over a batch where this takes the
mean, of BPR and regulariser alike, which leaves Adam's steps the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from mmx.bounds import DEEPEST, WIDEST, check_settings, number, whole
from mmx.recommend.blocks.graph import Sparse, UserItemGraph
from mmx.recommend.blocks.losses import bpr_loss, l2_of_batch
from mmx.recommend.blocks.pruning import pruned
from mmx.recommend.blocks.refined import refined_sum
from mmx.recommend.blocks.unit import unit
from mmx.recommend.protocol import GradientModel, ModelConfig, World


@dataclass(frozen=True)
class Config(ModelConfig):
    """Hyper-parameters of LayerGCN.

    The paper has four layers and searches ``pruned`` in 0, 0.1 and 0.2, ``reg`` in 1e-2 to 1e-5.
    """

    dim: int = 64  # length of user and item embeddings
    layers: int = 4  # L, steps over the user-item graph
    pruned: float = 0.1  # share of training pairs left out of an epoch's graph
    reg: float = 1e-3  # λ: weight of ½‖·‖² of the layer-0 embeddings a triple touches

    def __post_init__(self) -> None:
        check_settings(
            self,
            dim=whole(1, WIDEST),
            layers=whole(1, DEEPEST),
            pruned=number(0, 1, below=True),
            reg=number(0),
        )


class Model(GradientModel):
    """ŷ_ui = e_u · e_i with e = Σ_{l=1…L} x^l, x^l = cos(Â x^{l-1}, x^0) Â x^{l-1} row by row.

    Â is the pruned graph in training and the whole one in scoring.
    """

    def __init__(self, config: Config, world: World, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.graph = UserItemGraph(world.train)
        self._pruned: Sparse = self.graph  # this epoch's part of it
        self.nodes = nn.Parameter(torch.empty(self.graph.shape[0], config.dim))  # x^0
        for part in self.graph.split(self.nodes.data):  # of users, of items
            nn.init.xavier_uniform_(part, generator=generator)

    def epoch_start(self, generator: torch.Generator) -> None:
        """Draw the epoch's graph."""
        self._pruned = pruned(self.graph, self.config.pruned, generator)

    def loss(
        self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor
    ) -> torch.Tensor:
        """BPR over (B,) triples with L2 on layer 0."""
        rows = torch.cat([users, *(items + self.graph.n_users for items in (positives, negatives))])
        final = self._final(self._pruned)
        u, i, j = F.embedding(rows, final).split(len(users))  # (B, k) each
        loss = bpr_loss((u * i).sum(1), (u * j).sum(1))
        first = F.embedding(rows, self.nodes).split(len(users))
        return loss + self.config.reg * l2_of_batch(*first)

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(users, k) and (items, k), over the whole graph; zero without training interactions."""
        return self.graph.split(self._final(self.graph))

    def _final(self, graph: Sparse) -> torch.Tensor:
        """e of every node → (users + items, k)."""
        return refined_sum(graph, self.nodes, unit(self.nodes), self.config.layers)
