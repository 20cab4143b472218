"""LightGCN: embeddings propagated over the user-item graph, with no other transformation.

He, Deng, Wang, Li, Zhang and Wang, "LightGCN: Simplifying and Powering Graph Convolution
Network for Recommendation", SIGIR 2020 (arXiv 2002.02126).

Equations: 3 to 5, 8 and 15.

Released code: MMRec's L2 term is norms, not squared; here it is the squares of equation 15.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from mmx.bounds import DEEPEST, WIDEST, check_settings, number, whole
from mmx.recommend.blocks.graph import UserItemGraph
from mmx.recommend.blocks.losses import bpr_loss, l2_of_batch
from mmx.recommend.blocks.propagation import mean_of_layers
from mmx.recommend.protocol import GradientModel, ModelConfig, World


@dataclass(frozen=True)
class Config(ModelConfig):
    """Hyper-parameters of LightGCN."""

    dim: int = 64  # length of user and item embeddings
    layers: int = 3  # K, steps of propagation
    reg: float = 1e-4  # λ: weight of ½‖·‖² of the layer-0 embeddings a triple touches

    def __post_init__(self) -> None:
        check_settings(self, dim=whole(1, WIDEST), layers=whole(0, DEEPEST), reg=number(0))


class Model(GradientModel):
    """ŷ_ui = e_u · e_i with e = Σ_k α_k e^(k), α_k = 1/(K + 1)   (equations 4 and 5).

    A node without training interactions keeps α_0 of its own embedding.
    """

    def __init__(self, config: Config, world: World, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.graph = UserItemGraph(world.train)
        self.nodes = nn.Parameter(torch.empty(self.graph.shape[0], config.dim))  # e^(0)
        for part in self.graph.split(self.nodes.data):  # of users, of items
            nn.init.xavier_uniform_(part, generator=generator)

    def loss(
        self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor
    ) -> torch.Tensor:
        """BPR over (B,) triples with L2 on layer 0 only   (equation 15)."""
        rows = torch.cat([users, *(items + self.graph.n_users for items in (positives, negatives))])
        u, i, j = F.embedding(rows, self._final()).split(len(users))  # (B, k) each
        loss = bpr_loss((u * i).sum(1), (u * j).sum(1))
        first = F.embedding(rows, self.nodes).split(len(users))
        return loss + self.config.reg * l2_of_batch(*first)

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Propagated (users, k) and (items, k)."""
        return self.graph.split(self._final())

    def _final(self) -> torch.Tensor:
        """e = mean of e^(0) … e^(K) of every node → (users + items, k)."""
        return mean_of_layers(self.graph, self.nodes, self.config.layers)
