"""LATTICE: LightGCN whose items also learn from items that look or read alike.

Zhang, Zhu, Liu, Wu, Wang and Wang, "Mining Latent Structures for Multimedia Recommendation",
MM 2021 (arXiv 2104.09036). Each modality has a frozen k-NN graph of its raw features and a
learned one of their projections.

Equations: 1 to 10.

Released code: mines the learned graph again at the start of an epoch and whenever the model is
scored; its edge weights pass gradients to the projection in the first step of the epoch and are
constants in the others, which is followed. MMRec's propagates by D⁻¹(A + I) and normalises the
learned graphs after they are mixed; here it is LightGCN's D^-½ A D^-½, and equations 5 and 6. It
trains the raw feature vectors along; here they are frozen, and a negative cosine counts as 0.

An item without a vector of some modality has no edges in that modality's graphs; an item
without any vector keeps its collaborative embedding alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from mmx.bounds import DEEPEST, WIDEST, check_settings, number, whole
from mmx.errors import OptionError
from mmx.recommend.blocks.graph import Sparse, UserItemGraph
from mmx.recommend.blocks.knn import edges_between, knn_edges, normalised
from mmx.recommend.blocks.losses import bpr_loss, l2_of_batch
from mmx.recommend.blocks.naming import module_key
from mmx.recommend.blocks.propagation import mean_of_layers
from mmx.recommend.features import Features
from mmx.recommend.protocol import FeatureTable, GradientModel, ModelConfig, World


@dataclass(frozen=True)
class Config(ModelConfig):
    """Hyper-parameters of LATTICE."""

    dim: int = 64  # length of user and item embeddings
    feature_dim: int = 64  # length of projected features
    neighbours: int = 10  # k of the k-NN graphs, an item itself among them
    frozen: float = 0.9  # λ: share of the raw features' graph in the item graph, 0 to 1
    item_layers: int = 1  # L, steps over the item graph
    layers: int = 2  # steps of LightGCN over the user-item graph
    reg: float = 0.0  # weight of ½‖·‖² of the final embeddings of a triple
    normalise: bool = True  # centre the feature vectors and scale them to norm 1 first

    def __post_init__(self) -> None:
        check_settings(
            self,
            dim=whole(1, WIDEST),
            feature_dim=whole(1, WIDEST),
            neighbours=whole(1),
            frozen=number(0, 1),
            item_layers=whole(0, DEEPEST),
            layers=whole(0, DEEPEST),
            reg=number(0),
        )


class Modality(nn.Module):
    """One modality's frozen graph, and the projection that the learned graph comes from."""

    matrix: torch.Tensor
    items: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor
    values: torch.Tensor

    def __init__(self, features: Features, config: Config, generator: torch.Generator) -> None:
        super().__init__()
        self.k = config.neighbours
        features = features.normalised() if config.normalise else features
        edges = knn_edges(features, self.k)  # equations 1 and 2
        similarity = edges.similarity.clamp(min=0)
        values = normalised(edges.rows, edges.columns, similarity, len(features.matrix))
        known = torch.from_numpy(np.flatnonzero(features.present))
        frozen = (torch.from_numpy(features.matrix), known, edges.rows, edges.columns, values)
        names = ("matrix", "items", "rows", "columns", "values")
        for name, tensor in zip(names, frozen, strict=True):
            self.register_buffer(name, tensor, persistent=False)
        self.weight = nn.Parameter(torch.empty(config.feature_dim, features.dimension))  # W_m
        nn.init.xavier_uniform_(self.weight, generator=generator)
        self.bias = nn.Parameter(torch.zeros(config.feature_dim))  # b_m

    def forward(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The learned graph's rows, columns and normalised values, (edges,) each.

        Which edges there are is not differentiable, their values are. In float32 under autocast
        too: in bfloat16 some of the nearest items would be others.
        """
        with torch.autocast(self.matrix.device.type, enabled=False):
            projected = F.linear(self.matrix, self.weight, self.bias)  # (items, f), equation 4
        unit = F.normalize(projected.float())
        edges = edges_between(unit.detach()[self.items], self.items, self.k)
        # the gradient of unit[rows] adds up in an order that differs from call to call
        ends = F.embedding(edges.rows, unit), F.embedding(edges.columns, unit)  # (edges, f) each
        cosine = (ends[0] * ends[1]).sum(1).clamp(min=0)  # (edges,)
        return edges.rows, edges.columns, normalised(edges.rows, edges.columns, cosine, len(unit))


class Model(GradientModel):
    """ŷ_ui = x̃_u · x̂_i with x̂_i = x̃_i + h_i/‖h_i‖   (equations 8 and 9).

    x̃ comes from LightGCN over the user-item graph, h = A^L x from the item graph A.
    """

    def __init__(self, config: Config, world: World, generator: torch.Generator) -> None:
        """Raises OptionError when the world has no features."""
        super().__init__()
        if not world.features:
            raise OptionError(
                "lattice needs item features; give --features, or choose --model lightgcn"
            )
        self.config = config
        self.normalise = config.normalise
        self.graph = UserItemGraph(world.train)
        self.nodes = nn.Parameter(torch.empty(self.graph.shape[0], config.dim))
        for part in self.graph.split(self.nodes.data):  # of users, of items
            nn.init.xavier_uniform_(part, generator=generator)
        self.modalities = nn.ModuleDict(
            {
                module_key(name): Modality(f, config, generator)
                for name, f in sorted(world.features.items())
            }
        )
        self.importance = nn.Parameter(torch.zeros(len(self.modalities)))  # softmax: α_m
        self._mined: tuple[Sparse, torch.Tensor] | None = None  # this epoch's item graph

    def epoch_start(self, generator: torch.Generator) -> None:
        """Have the next step mine the item graph again. Nothing is drawn."""
        self._mined = None

    def loss(
        self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor
    ) -> torch.Tensor:
        """BPR over (B,) triples   (equation 10)."""
        if self._mined is None:
            graph, values = self._mine()
            self._mined = graph, values.detach()
        else:
            graph, values = self._mined
        final = mean_of_layers(self.graph, self.nodes, self.config.layers)
        alike = self._alike(graph, values)  # (items, k)
        items = torch.cat([positives, negatives])
        u = F.embedding(users, final)  # (B, k)
        own = F.embedding(items + self.graph.n_users, final)  # (2B, k)
        i, j = (own + F.normalize(F.embedding(items, alike))).split(len(users))  # (B, k) each
        loss = bpr_loss((u * i).sum(1), (u * j).sum(1))
        return loss + self.config.reg * l2_of_batch(u, i, j)

    def feature_tables(self, modality: str) -> list[FeatureTable]:
        """The modality's vectors."""
        return [cast(FeatureTable, self.modalities[module_key(modality)])]

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Final (users, k) and (items, k), with the item graph of the parameters as they are."""
        nodes = mean_of_layers(self.graph, self.nodes, self.config.layers)
        users, items = self.graph.split(nodes)
        return users, items + F.normalize(self._alike(*self._mine()))

    def _alike(self, graph: Sparse, values: torch.Tensor) -> torch.Tensor:
        """h = A^L x of the items → (items, k)   (equation 7)."""
        h = self.graph.split(self.nodes)[1]
        for _ in range(self.config.item_layers):
            h = graph(h, values)
        return h

    def _mine(self) -> tuple[Sparse, torch.Tensor]:
        """A = Σ_m α_m (λ S_m + (1 - λ) A_m), and its (entries,) values   (equations 5 and 6)."""
        rows, columns, values = [], [], []
        share = self.config.frozen
        for alpha, modality in zip(self.importance.softmax(0), self.modalities.values(),
                                   strict=True):  # fmt: skip
            learned = modality()  # rows, columns, values
            rows += [modality.rows, learned[0]]
            columns += [modality.columns, learned[1]]
            values += [alpha * share * modality.values, alpha * (1 - share) * learned[2]]
        given, items = torch.cat(values), self.graph.n_items
        graph = Sparse(torch.cat(rows), torch.cat(columns), given.detach(), (items, items))
        return graph, given[graph.order]
