"""Items' contents through two layers, as DRAGON, MENTOR and COHESION have them for a modality."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from mmx.recommend.blocks.content import ProjectedContent
from mmx.recommend.blocks.initial import linear
from mmx.recommend.features import Features

HIDDEN = 4  # times dim: the inner layer


class ContentNet(nn.Module):
    """One modality's frozen vectors: W₂ leaky(W₁ f + b₁) + b₂."""

    def __init__(self, features: Features, dim: int, generator: torch.Generator) -> None:
        """The vectors are taken as they are."""
        super().__init__()
        self.project = ProjectedContent(features, HIDDEN * dim, generator, normalise=False)
        self.out = linear(HIDDEN * dim, dim, generator)

    def forward(self) -> torch.Tensor:
        """All items → (items, dim)."""
        return self.out(F.leaky_relu(self.project())).float()
