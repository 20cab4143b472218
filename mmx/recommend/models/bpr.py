"""MF-BPR: matrix factorisation under Bayesian personalised ranking.

Rendle, Freudenthaler, Gantner and Schmidt-Thieme, "BPR: Bayesian Personalized Ranking from
Implicit Feedback", UAI 2009 (arXiv 1205.2618), section 4.3.1.

Equations: BPR-Opt (section 4.1) on the matrix factorisation of section 4.3.1, by default with an
item's bias.

Released code: MMRec's has no bias, and its L2 term is norms, not squared; here it is ½‖·‖² of what
a triple touches.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from mmx.bounds import WIDEST, check_settings, number, whole
from mmx.recommend.blocks.initial import xavier
from mmx.recommend.blocks.losses import bpr_loss, l2_of_batch
from mmx.recommend.protocol import GradientModel, ModelConfig, World


@dataclass(frozen=True)
class Config(ModelConfig):
    """Hyper-parameters of MF-BPR."""

    dim: int = 64  # length of user and item embeddings
    reg: float = 0.05  # weight of ½‖·‖² of the embeddings a triple touches
    item_bias: bool = True  # add β_i, an item's own popularity

    def __post_init__(self) -> None:
        check_settings(self, dim=whole(1, WIDEST), reg=number(0))


class Model(GradientModel):
    """x̂_ui = γ_u · γ_i (+ β_i)."""

    def __init__(self, config: Config, world: World, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.user = xavier(world.n_users, config.dim, generator)
        self.item = xavier(world.n_items, config.dim, generator)
        self.bias = nn.Parameter(torch.zeros(world.n_items), requires_grad=config.item_bias)

    def loss(
        self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor
    ) -> torch.Tensor:
        """BPR-Opt over (B,) triples, with the regulariser on what they touch."""
        u = F.embedding(users, self.user)  # (B, k)
        i, j = F.embedding(torch.stack([positives, negatives]), self.item)  # (B, k)
        b_i, b_j = self.bias[positives], self.bias[negatives]  # (B,)
        loss = bpr_loss((u * i).sum(1) + b_i, (u * j).sum(1) + b_j)
        return loss + self.config.reg * l2_of_batch(u, i, j, b_i, b_j)

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(users, k) and (items, k); with a bias one more column each."""
        if not self.config.item_bias:
            return self.user, self.item
        ones = torch.ones_like(self.user[:, :1])
        return torch.cat([self.user, ones], 1), torch.cat([self.item, self.bias[:, None]], 1)
