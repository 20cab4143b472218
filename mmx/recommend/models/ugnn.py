"""UGNN: ids and modalities over one graph with shared users, read by one linear map a side.

The sixth recommender of Yi, Long, Ounis, Macdonald and Mccreadie, "Enhancing Recommender Systems:
Deep Modality Alignment with Large Multi-Modal Encoders", ACM TORS 2025 (arXiv 2310.20343), there
only with an encoder that trains along: the graph network of Yi and Ounis, "A Unified Graph
Transformer for Overcoming Isolations in Multi-modal Recommendation", RecSys 2024 (arXiv
2407.19886).

Equations: those of the authors' program for the former, without their numbers. The latter's text
fuses modalities by attention where that has the linear maps, and its loss is BPR and the encoder's
own alone.

Released code: its contrast is said to be of two views, edges dropped and a modality masked. Both of
its terms take the first, so that the second, which also exchanges image and text, changes nothing;
its exchanged negatives are not used either. So the contrast here is of the first view, once, with
twice the program's weight (0.4 to 0.8). Its items start from the encoder's vectors as they are,
which needs ids as long as those (768); here each modality is projected, as in its other models. It
draws how many pairs are dropped exactly, here each pair is dropped with that chance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F

from mmx.bounds import DEEPEST, WIDEST, check_settings, number, whole
from mmx.devices import sent
from mmx.errors import OptionError
from mmx.recommend.blocks.batch import unique_padded
from mmx.recommend.blocks.channels import Channels
from mmx.recommend.blocks.initial import linear, own_generator, uniform
from mmx.recommend.blocks.losses import bpr_loss, in_batch
from mmx.recommend.blocks.naming import module_key
from mmx.recommend.protocol import FeatureTable, GradientModel, ModelConfig, World


@dataclass(frozen=True)
class Config(ModelConfig):
    """Hyper-parameters of UGNN."""

    dim: int = 64  # length of every channel's embeddings and of the fused ones
    layers: int = 3  # steps of propagation
    ssl_weight: float = 1.0  # weight of the contrast
    temperature: float = 0.2  # τ
    edge_dropout: float = 0.3  # share of training pairs left out of the contrast's view
    reg: float = 3e-4  # weight of ½‖·‖² of all parameters, as Adam's weight decay
    components: int = 1024  # principal components kept of longer features; 0 keeps them whole
    normalise: bool = True  # centre feature vectors and scale them to norm 1 first

    def __post_init__(self) -> None:
        check_settings(
            self,
            dim=whole(1, WIDEST),
            layers=whole(0, DEEPEST),
            ssl_weight=number(0),
            temperature=number(0, above=True),
            edge_dropout=number(0, 1, below=True),
            reg=number(0),
            components=whole(0),
        )

    def end_to_end(self) -> Config:
        """All components: the axes of vectors that change would change too."""
        return replace(self, components=0)


class Model(GradientModel):
    """ŷ_ui = z_u · z_i, where z is a linear map of a node's channels side by side."""

    whole_batch = True  # the other rows of a batch are the contrast
    generator: torch.Generator  # of its steps

    def __init__(self, config: Config, world: World, generator: torch.Generator) -> None:
        """Raises OptionError when the world has no features."""
        super().__init__()
        if not world.features:
            raise OptionError("ugnn needs item features; give --features")
        self.config, k = config, config.dim
        self.normalise = config.normalise
        self.weight_decay = config.reg
        self.channels = Channels(world, k, config.layers, generator, normalise=config.normalise,
                                 components=config.components)  # fmt: skip
        self.read_user = linear(self.channels.width, k, generator)
        self.read_item = linear(self.channels.width, k, generator)
        self.generator = own_generator(generator)

    def loss(
        self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor
    ) -> torch.Tensor:
        """BPR of (B,) triples, and InfoNCE of users and positives over a graph with fewer edges."""
        of_users, of_items = self.channels.rows(users, torch.cat([positives, negatives]))
        u = self.read_user(of_users)  # (B, k)
        i, j = self.read_item(of_items).split(len(users))  # (B, k) each
        main = bpr_loss((u * i).sum(1), (u * j).sum(1))
        if not self.config.ssl_weight:
            return main
        return main + self.config.ssl_weight * self._contrast(users, positives)

    def feature_tables(self, modality: str) -> list[FeatureTable]:
        """The modality's vectors."""
        return [cast(FeatureTable, self.channels.content[module_key(modality)])]

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(users, k) and (items, k), over the whole graph."""
        of_users, of_items = self.channels.propagate(self.channels.starts())
        return self.read_user(of_users), self.read_item(of_items)

    def draw(self) -> torch.Tensor:
        """The training pairs that the contrast's view keeps, (pairs,) bool."""
        pairs = (len(self.channels.graph.users),)
        kept = uniform(pairs, self.generator) >= self.config.edge_dropout
        return sent(kept, self.channels.user.device)

    def _contrast(self, users: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
        """Each user's positive against the batch's other ones."""
        graph = self.channels.graph
        edges = graph.values_of(graph.weights(self.draw()))
        of_users, of_items = self.channels.propagate(self.channels.starts(), edges)
        items, place, counts = unique_padded(positives, graph.n_items)  # (n,), (B,), (n,)
        z_u = F.normalize(self.read_user(F.embedding(users, of_users)))  # (B, k)
        z_i = F.normalize(self.read_item(F.embedding(items, of_items)))  # (n, k)
        return in_batch(z_u, z_i, self.config.temperature, place, counts)
