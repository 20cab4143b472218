"""MGCN: ids over the user-item graph, purified contents over item graphs, fused by behaviour.

Yu, Tan, Lu and Bao, "Multi-View Graph Convolutional Network for Multimedia Recommendation",
MM 2023 (arXiv 2308.03588). The paper has two modalities; here there are as many as the world has,
and the mean over the fused vector and its M residuals divides by M + 1 (the paper's 3).

Equations: those of the whole method, without their numbers.

Released code: trains the vectors of items along, though its item graphs stay those of the first
vectors; here they are frozen. A row of an item graph that sums to 0 or less becomes NaN there; here
a negative cosine counts as 0. It divides the L2 term by the configured batch size; here it is the
batch's own, also in the last, smaller batch.

An item without a vector of some modality is its own only neighbour there, with the modality's
learned default vector.

Defaults are the paper's; of the weights that it chose by data set (0.001 Baby, 0.01 Sports and
Clothing) ``ssl_weight`` is the second. The paper also lowers the learning rate by 0.96 in 50
epochs: ``--lr-decay 0.9992``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from mmx.bounds import DEEPEST, WIDEST, check_settings, number, whole
from mmx.errors import OptionError
from mmx.recommend.blocks.fuser import fused
from mmx.recommend.blocks.graph import UserItemGraph, histories
from mmx.recommend.blocks.initial import linear, xavier
from mmx.recommend.blocks.naming import module_key
from mmx.recommend.blocks.propagation import mean_of_layers
from mmx.recommend.blocks.purified import PurifiedView
from mmx.recommend.blocks.side import side_loss
from mmx.recommend.protocol import GradientModel, ModelConfig, World


@dataclass(frozen=True)
class Config(ModelConfig):
    """Hyper-parameters of MGCN."""

    dim: int = 64  # length of user and item embeddings
    layers: int = 2  # L, steps over the user-item graph
    item_layers: int = 1  # steps over the item graphs
    neighbours: int = 10  # K of the item graphs, an item itself among them
    ssl_weight: float = 0.01  # weight of the contrastive loss
    temperature: float = 0.2  # τ
    reg: float = 1e-4  # weight of ½‖·‖² of the final embeddings of a triple
    components: int = 1024  # principal components of longer features to project; 0: all numbers
    normalise: bool = True  # centre the feature vectors and scale them to norm 1 first

    def __post_init__(self) -> None:
        check_settings(
            self,
            dim=whole(1, WIDEST),
            layers=whole(0, DEEPEST),
            item_layers=whole(0, DEEPEST),
            neighbours=whole(1),
            ssl_weight=number(0),
            temperature=number(0, above=True),
            reg=number(0),
            components=whole(0),
        )


class Model(GradientModel):
    """ŷ_ui = e_u · e_i with e = ē_id + e_mul: the behaviour view plus the fused contents."""

    whole_batch = True  # the other rows of a batch are the contrast

    def __init__(self, config: Config, world: World, generator: torch.Generator) -> None:
        """Raises OptionError when the world has no features."""
        super().__init__()
        if not world.features:
            raise OptionError(
                "mgcn needs item features; give --features, or choose --model lightgcn"
            )
        self.config, k = config, config.dim
        self.graph = UserItemGraph(world.train)
        self.history = histories(self.graph)
        self.nodes = nn.Parameter(torch.empty(self.graph.shape[0], k))  # e_id
        for part in self.graph.split(self.nodes.data):  # of users, of items
            nn.init.xavier_uniform_(part, generator=generator)
        self.modalities = nn.ModuleDict()
        self.prefer = nn.ModuleDict()  # P: a gate of each modality
        for name, features in sorted(world.features.items()):
            self.modalities[module_key(name)] = PurifiedView(
                features, k, generator,
                neighbours=config.neighbours, steps=config.item_layers,
                components=config.components, normalise=config.normalise,
            )  # fmt: skip
            self.prefer[module_key(name)] = linear(k, k, generator)
        self.attend = linear(k, k, generator)  # Q, which all modalities share
        self.query = xavier(1, k, generator)  # q

    def loss(
        self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor
    ) -> torch.Tensor:
        """BPR over (B,) triples, L2, and InfoNCE of the fused contents with the behaviour."""
        config = self.config

        def parts(nodes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            views, behaviour = self._views(nodes)
            return self._fused(views, behaviour), behaviour

        return side_loss(
            (users, positives, negatives), self.graph, parts,
            config.reg, config.ssl_weight, config.temperature,
        )  # fmt: skip

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Final (users, k) and (items, k)."""
        views, behaviour = self._views()
        return self.graph.split(behaviour + self._fused(views, behaviour))

    def _views(self, rows: torch.Tensor | None = None) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Each modality's view and the behaviour view of (n,) nodes, or all → (n, k) each."""
        ids = self.graph.split(self.nodes)[1]
        of_items = torch.cat([modality(ids) for modality in self.modalities.values()], 1)
        of_nodes = torch.cat([self.history(of_items), of_items])  # (nodes, M k)
        behaviour = mean_of_layers(self.graph, self.nodes, self.config.layers)  # (nodes, k)
        if rows is not None:
            of_nodes, behaviour = F.embedding(rows, of_nodes), F.embedding(rows, behaviour)
        return list(of_nodes.split(self.config.dim, 1)), behaviour

    def _fused(self, views: list[torch.Tensor], behaviour: torch.Tensor) -> torch.Tensor:
        """The behaviour-aware fuser: (n, k) of each modality, (n, k) → e_mul (n, k)."""
        return fused(views, behaviour, self.attend, self.query, self.prefer.values())
