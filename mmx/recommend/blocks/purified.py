"""Items as one modality has them: ids gated by contents, over the graph of similar items.

Yu, Tan, Lu and Bao, "Multi-View Graph Convolutional Network for Multimedia Recommendation",
MM 2023 (arXiv 2308.03588): the behaviour-guided purifier and the item-item view; GUME has both.
"""

from __future__ import annotations

import torch
from torch import nn

from mmx.recommend.blocks.content import ProjectedContent
from mmx.recommend.blocks.initial import linear
from mmx.recommend.blocks.item_graph import cosine_graph
from mmx.recommend.features import Features


class PurifiedView(nn.Module):
    """The item-item view of one modality: its purifier and its frozen graph."""

    def __init__(
        self,
        given: Features,
        dim: int,
        generator: torch.Generator,
        *,
        neighbours: int,
        steps: int,
        components: int,
        normalise: bool,
    ) -> None:
        """``neighbours`` and ``steps`` are of the item graph, ``components`` of the projection."""
        super().__init__()
        self.steps = steps
        known = given.normalised() if normalise else given
        self.graph = cosine_graph(known, neighbours)  # S
        shortened = known.principal(components)
        self.project = ProjectedContent(shortened, dim, generator, normalise=False)  # W, b
        self.purify = linear(dim, dim, generator)  # W', b'

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """S^l (e_id ⊙ σ(W'(W f + b) + b')) of the items' (items, k) embeddings."""
        x = ids * torch.sigmoid(self.purify(self.project())).float()  # behaviour-guided purifier
        for _ in range(self.steps):
            x = self.graph(x)
        return x  # (items, k)
