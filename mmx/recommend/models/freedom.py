"""FREEDOM: LightGCN on a pruned user-item graph, and a frozen graph of similar items.

Zhou and Shen, "A Tale of Two Graphs: Freezing and Denoising Graph Structures for Multimodal
Recommendation", MM 2023 (arXiv 2211.06924).

Equations: section 3.1 for the frozen item graph, 3.2 for the pruning, 3.3 for both graphs together
and the loss, without their numbers.

Released code: also trains the raw feature vectors, while the item graph keeps what they were at
first, and keeps that graph in a file whose name does not depend on the vectors. Here the vectors
are frozen, only those of a batch's items are projected, and the graph is made from the vectors
given. Its projections have an offset b, which cancels in a difference of two items' scores and is
left out. Neither has an L2 term.

Features enter the score by the item graph alone; their projections shape the embeddings in
training. An item that nobody took is scored by the mean of its neighbours' embeddings and by its
own, which was a negative only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from mmx.bounds import DEEPEST, WIDEST, check_settings, number, whole
from mmx.errors import OptionError
from mmx.recommend.blocks.batch import unique_padded
from mmx.recommend.blocks.content import Content
from mmx.recommend.blocks.frozen_graph import frozen_graph, graph_shares
from mmx.recommend.blocks.graph import Sparse, UserItemGraph
from mmx.recommend.blocks.initial import xavier
from mmx.recommend.blocks.losses import bpr_loss
from mmx.recommend.blocks.modalities import parse_weights
from mmx.recommend.blocks.naming import module_key
from mmx.recommend.blocks.propagation import mean_of_layers
from mmx.recommend.blocks.pruning import pruned
from mmx.recommend.protocol import GradientModel, ModelConfig, World


@dataclass(frozen=True)
class Config(ModelConfig):
    """Hyper-parameters of FREEDOM, the paper's values.

    It searches ``pruned`` in 0.8 and 0.9, ``content_weight`` in 0, 1e-5, 1e-4 and 1e-3.
    """

    dim: int = 64  # length of user and item embeddings and of projected features
    layers: int = 2  # steps over the user-item graph
    item_layers: int = 1  # steps over the item graph
    neighbours: int = 10  # k of the item graph, an item itself among them
    weights: str = ""  # of modalities in it, image:0.3,text:0.7; empty: image 0.1, others 0.9
    pruned: float = 0.8  # ρ: share of training pairs left out of an epoch's graph
    content_weight: float = 1e-3  # λ: weight of the modalities' own BPR losses
    normalise: bool = True  # centre the feature vectors and scale them to norm 1 first

    def __post_init__(self) -> None:
        check_settings(
            self,
            dim=whole(1, WIDEST),
            layers=whole(0, DEEPEST),
            item_layers=whole(0, DEEPEST),
            neighbours=whole(1),
            pruned=number(0, 1, below=True),
            content_weight=number(0),
        )
        parse_weights(self.weights)


class Model(GradientModel):
    """ŷ_ui = x̂_u · (x̂_i + h_i), h = S^L x   (section 3.3).

    x are the embeddings, x̂ the mean of LightGCN's layers over the user-item graph, which is
    pruned in training and whole in scoring, S the frozen item graph.
    """

    def __init__(self, config: Config, world: World, generator: torch.Generator) -> None:
        """Raises OptionError when the world has no features."""
        super().__init__()
        if not world.features:
            raise OptionError(
                "freedom needs item features; give --features, or choose --model lightgcn"
            )
        self.config = config
        self.normalise = config.normalise
        self.graph = UserItemGraph(world.train)
        self._pruned: Sparse = self.graph  # this epoch's part of it
        self.nodes = nn.Parameter(torch.empty(self.graph.shape[0], config.dim))  # x
        for part in self.graph.split(self.nodes.data):  # of users, of items
            nn.init.xavier_uniform_(part, generator=generator)
        features = world.features
        if config.normalise:
            features = {name: found.normalised() for name, found in features.items()}
        shares = graph_shares(config.weights, features)
        self.alike = frozen_graph(features, config.neighbours, shares)  # S
        self.content, self.project = nn.ModuleDict(), nn.ParameterDict()
        for modality, found in sorted(features.items()):
            name = module_key(modality)
            self.content[name] = Content(found, normalise=False)
            self.project[name] = xavier(config.dim, found.dimension, generator)  # W_m

    def epoch_start(self, generator: torch.Generator) -> None:
        """Draw the epoch's graph   (section 3.2)."""
        self._pruned = pruned(self.graph, self.config.pruned, generator)

    def loss(
        self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor
    ) -> torch.Tensor:
        """BPR over (B,) triples, and λ times BPR of each modality with the same users."""
        final, similar = self._final(self._pruned), self._similar()  # (nodes, k), (items, k)
        items = torch.cat([positives, negatives])  # (2B,)
        u = F.embedding(users, final)  # (B, k)
        own = F.embedding(items + self.graph.n_users, final)  # (2B, k)
        loss = _bpr(u, own + F.embedding(items, similar))
        if self.config.content_weight:
            different, place, _ = unique_padded(items, self.graph.n_items)  # (n,), (2B,)
            for name, content in self.content.items():
                projected = F.embedding(place, content(self.project[name], different))  # (2B, k)
                loss = loss + self.config.content_weight * _bpr(u, projected)
        return loss

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(users, k) and (items, k), over the whole graph."""
        users, items = self.graph.split(self._final(self.graph))
        return users, items + self._similar()

    def _final(self, graph: Sparse) -> torch.Tensor:
        """x̂ → (users + items, k)."""
        return mean_of_layers(graph, self.nodes, self.config.layers)

    def _similar(self) -> torch.Tensor:
        """h = S^L x of the items → (items, k)."""
        h = self.graph.split(self.nodes)[1]
        for _ in range(self.config.item_layers):
            h = self.alike(h)
        return h


def _bpr(users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """BPR of (B, k) users with (2B, k) items, the positives before the negatives."""
    positive, negative = items.split(len(users))
    return bpr_loss((users * positive).sum(1), (users * negative).sum(1))
