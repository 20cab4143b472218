"""MMGCN: one graph network per modality over the user-item graph, their outputs averaged.

Wei, Wang, Nie, He, Hong and Chua, "MMGCN: Multi-modal Graph Convolution Network for
Personalized Recommendation of Micro-video", MM 2019. A user has a learned preference vector
in each modality's space, an item its features; features of more than ``latent`` dimensions
are projected to that many first, as the authors do with their visual features. An item
without a vector of some modality takes a learned vector of that modality's space instead.

Where the time goes, and what is done about it. Features of more than ``components``
dimensions are turned to their principal axes once per run, and the axes of least variance
left out: the projection of 4096-d features of all items is otherwise half of a step's work.
The mean over neighbours and the matrix W_1 commute, so W_1 is always applied to the items'
rows, of which there are fewer. The last layer is computed for the batch's rows only. What is
left is mostly matrix products: ``--precision bfloat16`` halves the time of a step.

Equations: 2, 5 and 6.

Released code: the authors' and MMRec's draw the ids and the users' preferences at random and
never train them, because they are not registered as parameters. Here both are trained, as in the
paper; ``preferences=false`` leaves the preferences as drawn. MMRec's scores with the embeddings
that the last training batch left. Its L2 term is mean squares of the ids of a batch and of all
image preferences; here it is ½‖·‖² of the ids of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from mmx.bounds import DEEPEST, WIDEST, check_settings, number, whole
from mmx.errors import OptionError
from mmx.recommend.blocks.content import Halved
from mmx.recommend.blocks.graph import Sparse, UserItemGraph
from mmx.recommend.blocks.losses import bpr_loss, l2_of_batch
from mmx.recommend.blocks.naming import module_key
from mmx.recommend.blocks.unit import unit
from mmx.recommend.features import Features
from mmx.recommend.protocol import FeatureTable, GradientModel, ModelConfig, World

SLOPE = 0.01  # of LeakyReLU for negative numbers


@dataclass(frozen=True)
class Config(ModelConfig):
    """Hyper-parameters of MMGCN."""

    dim: int = 64  # length of id embeddings and of every layer's output
    latent: int = 256  # longest modality space; longer features are projected to this length
    components: int = 1024  # principal components kept of longer features; 0 keeps them whole
    layers: int = 3  # L, steps over the graph
    reg: float = 0.0  # weight of ½‖·‖² of the id embeddings a triple touches
    normalise: bool = True  # centre the feature vectors and scale them to norm 1 first
    preferences: bool = True  # learn the users' vectors, instead of leaving them as drawn

    def __post_init__(self) -> None:
        check_settings(
            self,
            dim=whole(1, WIDEST),
            latent=whole(1, WIDEST),
            components=whole(0),
            layers=whole(1, DEEPEST),
            reg=number(0),
        )

    def end_to_end(self) -> Config:
        """All components: the axes of vectors that change would change too."""
        return replace(self, components=0)


Sides = tuple[torch.Tensor, torch.Tensor]  # of users and of items


class Means(nn.Module):
    """Means over a user's items and over an item's users; none where there are no neighbours."""

    def __init__(self, graph: UserItemGraph) -> None:
        super().__init__()
        users, items = graph.users, graph.items
        n, m = graph.n_users, graph.n_items
        of_user = torch.bincount(users, minlength=n).float().reciprocal()[users]  # (pairs,)
        of_item = torch.bincount(items, minlength=m).float().reciprocal()[items]  # (pairs,)
        self.to_users = Sparse(users, items, of_user, (n, m))
        self.to_items = Sparse(items, users, of_item, (m, n))


class Layer(nn.Module):
    """x → LeakyReLU(W_3 (h ∥ x̂)), h and x̂ by equations 2 and 5, together equation 6."""

    def __init__(self, inputs: int, dim: int, generator: torch.Generator) -> None:
        super().__init__()
        self.gather = _drawn(inputs, inputs, generator)  # W_1
        self.own = _drawn(dim, inputs, generator)  # W_2
        self.own_bias = nn.Parameter(torch.zeros(dim))
        self.from_gathered = _drawn(dim, inputs, generator)  # W_3, its part for h
        self.from_own = _drawn(dim, dim, generator)  # W_3, its part for x̂
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Sides, ids: Sides, means: Means, rows: Sides | None = None) -> Sides:
        """(users, inputs) and (items, inputs) → (users, dim) and (items, dim).

        Or, given (n,) user and (m,) item numbers as ``rows``, (n, dim) and (m, dim).
        """
        if rows is None:
            to_users = means.to_users(F.linear(x[1], self.gather))  # (users, inputs)
            to_items = F.linear(means.to_items(x[0]), self.gather)  # (items, inputs)
            return self._combine(to_users, x[0], ids[0]), self._combine(to_items, x[1], ids[1])
        to_users = F.linear(F.embedding(rows[0], means.to_users(x[1])), self.gather)  # (n, inputs)
        to_items = F.linear(F.embedding(rows[1], means.to_items(x[0])), self.gather)  # (m, inputs)
        x, ids = _rows_of(x, rows), _rows_of(ids, rows)
        return self._combine(to_users, x[0], ids[0]), self._combine(to_items, x[1], ids[1])

    def _combine(self, gathered: torch.Tensor, x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        h = F.leaky_relu_(gathered, SLOPE)  # (n, inputs), equation 2
        own = F.leaky_relu_(F.linear(x, self.own, self.own_bias), SLOPE) + ids  # (n, dim), 5
        mixed = F.linear(own, self.from_own, self.bias) + F.linear(h, self.from_gathered)
        return F.leaky_relu_(mixed, SLOPE)  # equation 6


def _rows_of(sides: Sides, rows: Sides) -> Sides:
    return F.embedding(rows[0], sides[0]), F.embedding(rows[1], sides[1])


class Channel(nn.Module):
    """One modality's network."""

    matrix: torch.Tensor
    absent: torch.Tensor

    def __init__(
        self, features: Features, users: int, config: Config, generator: torch.Generator
    ) -> None:
        super().__init__()
        known = features.normalised() if config.normalise else features
        if config.components:
            known = known.principal(max(config.components, config.latent))
        matrix, present = torch.from_numpy(known.matrix), torch.from_numpy(known.present)
        self.register_buffer("matrix", matrix, persistent=False)
        self.register_buffer("absent", (~present).nonzero()[:, 0], persistent=False)
        dimension = matrix.shape[1]
        width = min(dimension, config.latent)
        self.project = self.project_bias = None
        self._halved = Halved()
        if width < dimension:
            self.project = _drawn(width, dimension, generator)
            self.project_bias = nn.Parameter(torch.zeros(width))
        self.preference = _drawn(users, width, generator)  # u_m
        self.preference.requires_grad_(config.preferences)
        self.default = nn.Parameter(torch.randn(width, generator=generator) / width**0.5)
        widths = [width, *[config.dim] * (config.layers - 1)]
        self.layers = nn.ModuleList(Layer(w, config.dim, generator) for w in widths)

    def forward(self, ids: Sides, means: Means, rows: Sides | None = None) -> Sides:
        """Final (users, dim) and (items, dim), or those of some users and items only."""
        items = unit(self._items())  # (items, width)
        x = unit(self.preference, items.dtype), items  # (users, width), (items, width)
        ids = ids[0].to(items.dtype), ids[1].to(items.dtype)
        *inner, last = self.layers
        for layer in inner:
            x = layer(x, ids, means)
        return last(x, ids, means, rows)

    def _items(self) -> torch.Tensor:
        """The items' vectors in this modality's space → (items, width)."""
        half = torch.is_autocast_enabled(self.matrix.device.type)
        items = self._halved(self.matrix) if half else self.matrix  # (items, d)
        if self.project is not None:
            items = F.linear(items, self.project, self.project_bias)  # (items, width)
        if not len(self.absent):
            return items
        default = self.default.to(items.dtype).expand(len(self.absent), -1)
        return items.index_copy(0, self.absent, default)


class Model(GradientModel):
    """ŷ_ui = u* · i*, each the mean over modalities of the last layer."""

    def __init__(self, config: Config, world: World, generator: torch.Generator) -> None:
        """Raises OptionError when the world has no features."""
        super().__init__()
        if not world.features:
            raise OptionError("mmgcn needs item features; give --features, or --model lightgcn")
        self.config = config
        self.normalise = config.normalise
        self.means = Means(UserItemGraph(world.train))
        self.user = _drawn(world.n_users, config.dim, generator)  # u_id
        self.item = _drawn(world.n_items, config.dim, generator)  # i_id
        self.channels = nn.ModuleDict(
            {
                module_key(name): Channel(features, world.n_users, config, generator)
                for name, features in sorted(world.features.items())
            }
        )

    def loss(
        self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor
    ) -> torch.Tensor:
        """BPR over (B,) triples."""
        u, items = self._final((users, torch.cat([positives, negatives])))  # (B, k), (2B, k)
        i, j = items.split(len(users))
        loss = bpr_loss((u * i).sum(1), (u * j).sum(1))
        touched = self.user[users], self.item[positives], self.item[negatives]
        return loss + self.config.reg * l2_of_batch(*touched)

    def feature_tables(self, modality: str) -> list[FeatureTable]:
        """The modality's vectors."""
        return [cast(FeatureTable, self.channels[module_key(modality)])]

    def factors(self) -> Sides:
        """Final (users, k) and (items, k)."""
        return self._final(None)

    def _final(self, rows: Sides | None) -> Sides:
        """The mean over modalities of their last layers."""
        ids = self.user, self.item
        ends = [channel(ids, self.means, rows) for channel in self.channels.values()]
        users, items = (torch.stack(side).float().mean(0) for side in zip(*ends, strict=True))
        return users, items


def _drawn(rows: int, columns: int, generator: torch.Generator) -> nn.Parameter:
    return nn.Parameter(nn.init.xavier_normal_(torch.empty(rows, columns), generator=generator))
