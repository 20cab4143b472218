"""PGL: items are their contents alone, over the principal part of the user-item graph.

Yu, Tan, Lu and Bao, "Mind Individual Information! Principal Graph Learning for Multimedia
Recommendation", AAAI 2025. The paper has two modalities, here there are as many as the world has.

Equations: those of the local extraction, without their numbers: each epoch trains on a part of the
pairs, drawn as FREEDOM draws them. The global one (a product of singular vectors) needs a dense
matrix of all nodes and is left out.

Released code: also trains the vectors of items, while its item graph stays that of the first ones;
here they are frozen. Its settings file has the contrast's weight 0, which turns it off; the default
here is the paper's for Baby.

That is 0.05, with dropout 0.2; Sports has 0.1 and 0.05, Clothing 0.5 and 0.1. The paper also lowers
the learning rate by 0.96 in 50 epochs: ``--lr-decay 0.9992``.

Items have no embedding of their own, so one that nobody took is scored as it is seen and read.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from mmx.bounds import DEEPEST, WIDEST, check_settings, number, whole
from mmx.devices import sent
from mmx.errors import OptionError
from mmx.recommend.blocks.content import projections
from mmx.recommend.blocks.frozen_graph import frozen_graph, graph_shares
from mmx.recommend.blocks.graph import Sparse, UserItemGraph
from mmx.recommend.blocks.initial import own_generator, uniform, xavier
from mmx.recommend.blocks.losses import bpr_loss, in_batch
from mmx.recommend.blocks.modalities import parse_weights
from mmx.recommend.blocks.propagation import mean_of_layers
from mmx.recommend.blocks.pruning import pruned
from mmx.recommend.protocol import GradientModel, ModelConfig, World


@dataclass(frozen=True)
class Config(ModelConfig):
    """Hyper-parameters of PGL."""

    dim: int = 64  # length of embeddings, of each modality
    layers: int = 2  # steps over the user-item graph
    item_layers: int = 1  # steps over the item graph
    neighbours: int = 10  # k of the item graph, an item itself among them
    weights: str = ""  # of modalities in it, image:0.3,text:0.7; empty: image 0.1, others 0.9
    pruned: float = 0.7  # share of training pairs left out of an epoch's graph
    dropout: float = 0.2  # share of an embedding's numbers left out in the contrast
    ssl_weight: float = 0.05  # weight of the contrast
    temperature: float = 0.2  # τ
    components: int = 1024  # principal components of longer features to project; 0: all numbers
    normalise: bool = True  # centre the feature vectors and scale them to norm 1 first

    def __post_init__(self) -> None:
        check_settings(
            self,
            dim=whole(1, WIDEST),
            layers=whole(0, DEEPEST),
            item_layers=whole(0, DEEPEST),
            neighbours=whole(1),
            pruned=number(0, 1, below=True),
            dropout=number(0, 1, below=True),
            ssl_weight=number(0),
            temperature=number(0, above=True),
            components=whole(0),
        )
        parse_weights(self.weights)


class Model(GradientModel):
    """ŷ_ui = ē_u · (ē_i + h_i), h = S^l e, ē the mean of LightGCN's layers.

    e_i is norm(W_m f_im + b_m) of all modalities side by side, e_u is trained. ē is over the
    epoch's part of the user-item graph in training, over all of it in scoring.
    """

    whole_batch = True  # the other rows of a batch are the contrast
    generator: torch.Generator  # of its steps

    def __init__(self, config: Config, world: World, generator: torch.Generator) -> None:
        """Raises OptionError when the world has no features."""
        super().__init__()
        if not world.features:
            raise OptionError(
                "pgl needs item features; give --features, or choose --model lightgcn"
            )
        self.config = config
        self.graph = UserItemGraph(world.train)
        self._pruned: Sparse = self.graph  # this epoch's part of it
        features = {n: f.normalised() if config.normalise else f for n, f in world.features.items()}
        shares = graph_shares(config.weights, features)
        self.alike = frozen_graph(features, config.neighbours, shares)  # S
        tables = [xavier(world.n_users, config.dim, generator).data for _ in features]
        self.user = nn.Parameter(torch.cat(tables, 1))  # (users, M k), one table a modality
        shortened = {name: found.principal(config.components) for name, found in features.items()}
        self.project = projections(shortened, config.dim, generator, normalise=False)
        self.generator = own_generator(generator)

    def epoch_start(self, generator: torch.Generator) -> None:
        """Draw the epoch's graph."""
        self._pruned = pruned(self.graph, self.config.pruned, generator)

    def loss(
        self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor
    ) -> torch.Tensor:
        """BPR over (B,) triples, and InfoNCE of two dropouts of the users' and the positives'."""
        final, similar = self._final(self._pruned)
        items = torch.cat([positives, negatives])  # (2B,)
        u = F.embedding(users, final)  # (B, M k)
        own = F.embedding(items + self.graph.n_users, final) + F.embedding(items, similar)
        i, j = own.split(len(users))  # (B, M k) each
        loss = bpr_loss((u * i).sum(1), (u * j).sum(1))
        if not self.config.ssl_weight:
            return loss
        kept = sent(self.draw(u.shape), u.device)
        ssl = self._contrast(u, kept[0], kept[1]) + self._contrast(i, kept[2], kept[3])
        return loss + self.config.ssl_weight * ssl / 2

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(users, M k) and (items, M k), over the whole graph; nothing is drawn."""
        final, similar = self._final(self.graph)
        users, items = self.graph.split(final)
        return users, items + similar

    def draw(self, shape: torch.Size) -> torch.Tensor:
        """What the step's four dropouts keep → (4, B, M k) bool, from the model's generator."""
        return uniform((4, *shape), self.generator) >= self.config.dropout

    def _final(self, graph: Sparse) -> tuple[torch.Tensor, torch.Tensor]:
        """ē (nodes, M k) and h (items, M k)."""
        items = torch.cat([F.normalize(project()) for project in self.project.values()], 1)  # e_i
        final = mean_of_layers(graph, torch.cat([self.user, items]), self.config.layers)
        for _ in range(self.config.item_layers):
            items = self.alike(items)
        return final, items

    def _contrast(self, x: torch.Tensor, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """InfoNCE of (B, M k) embeddings with themselves, through two dropouts."""
        left, right = (F.normalize(x * kept) for kept in (one, other))  # a scale would cancel
        each = torch.arange(len(x), device=x.device)
        return in_batch(left, right, self.config.temperature, each, torch.ones_like(each))
