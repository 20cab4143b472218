"""GUME: MGCN over a graph that also joins similar items; users' contents come in two kinds.

Lin, Meng, Wang, Long, Zhou and Xiao, "GUME: Graphs and User Modalities Enhancement for Long-Tail
Multimodal Recommendation", CIKM 2024 (arXiv 2407.12338). The paper has two modalities; here there
are as many as the world has: items are joined that are near in all of them, each pair of them is
aligned, and the mean over the coarse vector and M residuals divides by M + 1 (the paper's 3). One
modality alone joins items to its neighbours and aligns nothing. An item without a vector of some
modality is its own only neighbour there, with the modality's learned default vector, and no item is
joined to it.

Equations: those of the whole method, without their numbers. Users have a table for each modality's
extended interests in it; propagation is linear and only the mean over modalities is used, so that
all tables get the same gradient: here their mean is trained, from the mean of their initial values,
and propagated once.

Released code: trains the vectors of items along, though its graphs stay those of the first vectors;
here they are frozen. As in MGCN here, a negative cosine counts as 0 in an item graph and L2 terms
are divided by the batch's own size. It joins items by ten neighbours whatever the setting, and
reads them from a file that it made for other vectors; here k is the setting.

Defaults are the paper's for Sports. Baby has 2 item layers, ``behaviour_temperature`` 0.4 and
``align_weight`` 0.1; Clothing ``user_weight`` 0.1, ``user_temperature`` 0.2 and ``align_weight``
0.001. The paper also lowers the learning rate by 0.96 in 50 epochs: ``--lr-decay 0.9992``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from mmx.bounds import DEEPEST, WIDEST, check_settings, number, whole
from mmx.devices import sent
from mmx.errors import OptionError
from mmx.recommend.blocks.batch import unique_padded
from mmx.recommend.blocks.fuser import fused
from mmx.recommend.blocks.graph import Sparse, UserItemGraph
from mmx.recommend.blocks.initial import linear, own_generator, uniform, xavier
from mmx.recommend.blocks.item_graph import common_edges
from mmx.recommend.blocks.knn import normalised
from mmx.recommend.blocks.losses import bpr_loss, contrast_of_nodes, l2_of_batch
from mmx.recommend.blocks.naming import module_key
from mmx.recommend.blocks.propagation import mean_of_layers
from mmx.recommend.blocks.purified import PurifiedView
from mmx.recommend.protocol import GradientModel, ModelConfig, World

NOISE = 0.1  # length of what is added to a user's vector in the contrast with itself


@dataclass(frozen=True)
class Config(ModelConfig):
    """Hyper-parameters of GUME."""

    dim: int = 64  # length of user and item embeddings
    layers: int = 3  # steps over the user-item graph
    item_layers: int = 1  # steps over the item graphs
    neighbours: int = 10  # k of the item graphs, an item itself among them
    behaviour_weight: float = 0.01  # of the contrast of contents with the behaviour
    behaviour_temperature: float = 0.2  # its τ
    user_weight: float = 0.01  # of the contrasts of users' two kinds of contents
    user_temperature: float = 0.1  # their τ
    align_weight: float = 0.01  # of the differences in mean and variance of modalities
    reg: float = 1e-5  # weight of ½‖·‖² of the final embeddings of a triple
    extended_reg: float = 0.1  # weight of ½‖·‖² of the positive's extended contents
    components: int = 1024  # principal components of longer features to project; 0: all numbers
    normalise: bool = True  # centre the feature vectors and scale them to norm 1 first

    def __post_init__(self) -> None:
        check_settings(
            self,
            dim=whole(1, WIDEST),
            layers=whole(0, DEEPEST),
            item_layers=whole(0, DEEPEST),
            neighbours=whole(1),
            behaviour_weight=number(0),
            behaviour_temperature=number(0, above=True),
            user_weight=number(0),
            user_temperature=number(0, above=True),
            align_weight=number(0),
            reg=number(0),
            extended_reg=number(0),
            components=whole(0),
        )


@dataclass(frozen=True)
class Interests:
    """Vectors of some nodes, (n, k) each."""

    behaviour: torch.Tensor  # C
    side: torch.Tensor  # S, the explicit contents of all modalities
    extended: torch.Tensor  # E

    @property
    def final(self) -> torch.Tensor:
        """(n, k) what is scored."""
        return self.behaviour + self.side


class Model(GradientModel):
    """ŷ_ui = e_u · e_i with e = C + S: the behaviour and the explicit contents of all modalities.

    C is the mean of LightGCN's layers over the augmented graph; S joins the modalities' explicit
    views x_m, purified over the item graphs, as MGCN does. The extended interests E, the mean of
    the layers that start from the items' x_m and from users' own vectors, teach S in training.
    """

    whole_batch = True  # the other rows of a batch are the contrast
    generator: torch.Generator  # of its steps

    def __init__(self, config: Config, world: World, generator: torch.Generator) -> None:
        """Raises OptionError when the world has no features."""
        super().__init__()
        if not world.features:
            raise OptionError(
                "gume needs item features; give --features, or choose --model lightgcn"
            )
        self.config, k = config, config.dim
        self.n_users, self.n_items = world.n_users, world.n_items
        tables = [xavier(rows, k, generator).data for rows in (world.n_users, world.n_items)]
        self.nodes = nn.Parameter(torch.cat(tables))  # ids
        drawn = [xavier(world.n_users, k, generator).data for _ in world.features]
        self.extended = nn.Parameter(torch.stack(drawn).mean(0))  # users' own, of all modalities
        self.modalities, self.prefer = nn.ModuleDict(), nn.ModuleDict()
        for name, features in sorted(world.features.items()):
            self.modalities[module_key(name)] = PurifiedView(
                features, k, generator,
                neighbours=config.neighbours, steps=config.item_layers,
                components=config.components, normalise=config.normalise,
            )  # fmt: skip
            self.prefer[module_key(name)] = linear(k, k, generator)  # P_m
        self.attend = linear(k, k, generator)  # Q, which all modalities share
        self.query = xavier(1, k, generator)  # q
        near = [cast(PurifiedView, view).graph for view in self.modalities.values()]
        self.graph = augmented(UserItemGraph(world.train), *common_edges(near))
        self.history = _users_rows(self.graph, world.n_users)
        self.generator = own_generator(generator)

    def loss(
        self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor
    ) -> torch.Tensor:
        """BPR over (B,) triples, L2, the contrasts, and the alignment of modalities.

        A user or item that is in several rows of the batch is in a contrast as often.
        """
        config, found = self.config, [unique_padded(users, self.n_users)]
        found += [unique_padded(part, self.n_items) for part in (positives, negatives)]
        numbers = [found[0][0], *(part + self.n_users for part, _, _ in found[1:])]
        views = self._explicit()  # (nodes, M k)
        parts = self._rows(views, numbers)
        u, i, j = (F.embedding(place, part.final)
                   for (_, place, _), part in zip(found, parts, strict=True))  # fmt: skip
        extended = F.embedding(found[1][1], parts[1].extended)  # (B, k) of the positives
        loss = bpr_loss((u * i).sum(1), (u * j).sum(1)) + config.reg * l2_of_batch(u, i, j)
        loss = loss + config.extended_reg * l2_of_batch(extended)
        loss = loss + config.align_weight * self._apart(views)
        for part, (_, _, counts) in zip(parts[:2], found, strict=False):
            contrast = contrast_of_nodes(
                part.side, part.behaviour, config.behaviour_temperature, counts
            )
            loss = loss + config.behaviour_weight * contrast
        if config.user_weight:
            loss = loss + config.user_weight * self._of_users(parts[0], found[0][2])
        return loss

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Final (users, k) and (items, k); nothing is drawn."""
        behaviour = mean_of_layers(self.graph, self.nodes, self.config.layers)
        final = behaviour + self._integrated(self._explicit(), behaviour)
        return final[: self.n_users], final[self.n_users :]

    def draw(self, rows: int) -> torch.Tensor:
        """Noise of a step for two pairs of views → (4, rows, k), from the model's generator."""
        return uniform((4, rows, self.config.dim), self.generator)

    def _explicit(self) -> torch.Tensor:
        """x_m of each modality: items over the item graphs, users as sums → (nodes, M k)."""
        ids = self.nodes[self.n_users :]
        of_items = torch.cat([view(ids) for view in self.modalities.values()], 1)
        return torch.cat([self.history(of_items), of_items])

    def _rows(self, views: torch.Tensor, numbers: list[torch.Tensor]) -> list[Interests]:
        """The vectors of (n,) nodes, for each of several groups of them."""
        middle = views[self.n_users :].unflatten(1, (-1, self.config.dim)).mean(1)  # (items, k)
        start = torch.cat([self.nodes, torch.cat([self.extended, middle])], 1)  # (nodes, 2 k)
        rows = torch.cat(numbers)
        layers = F.embedding(rows, mean_of_layers(self.graph, start, self.config.layers))
        behaviour, extended = layers.chunk(2, 1)
        side = self._integrated(F.embedding(rows, views), behaviour)
        sizes = [len(part) for part in numbers]
        split = (x.split(sizes) for x in (behaviour, side, extended))
        return [Interests(*parts) for parts in zip(*split, strict=True)]

    def _integrated(self, views: torch.Tensor, behaviour: torch.Tensor) -> torch.Tensor:
        """S of (n, M k) explicit views and (n, k) behaviour → (n, k)."""
        modal = views.split(self.config.dim, 1)
        return fused(modal, behaviour, self.attend, self.query, self.prefer.values())

    def _apart(self, views: torch.Tensor) -> torch.Tensor:
        """Σ over pairs of modalities of |Δ variance| + |Δ mean| of all numbers of all nodes."""
        each = views.unflatten(1, (-1, self.config.dim))  # (nodes, M, k)
        moments = torch.stack([each.var((0, 2)), each.mean((0, 2))], 1)  # (M, 2)
        pairs = combinations(moments, 2)
        return sum(((a - b).abs().sum() for a, b in pairs), moments.new_zeros(()))

    def _of_users(self, user: Interests, counts: torch.Tensor) -> torch.Tensor:
        """InfoNCE of (n, k) users' E with their S, and of each with itself through noise."""
        tau, noise = self.config.user_temperature, sent(self.draw(len(counts)), counts.device)
        total = contrast_of_nodes(user.extended, user.side, tau, counts)
        for x, (one, other) in zip((user.side, user.extended), noise.chunk(2), strict=True):
            total = total + contrast_of_nodes(_noised(x, one), _noised(x, other), tau, counts)
        return total


def _noised(x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """(n, k) vectors moved by NOISE within their own orthants, as (n, k) positive numbers say."""
    return x + x.sign() * F.normalize(noise) * NOISE


def augmented(graph: UserItemGraph, rows: torch.Tensor, columns: torch.Tensor) -> Sparse:
    """D^-½ A D^-½ of the user-item graph with (edges,) edges from items to items besides.

    D are the sums of the rows of A, on both sides, as in the authors' code: A is not symmetric. A
    node without edges has an empty row.
    """
    nodes, users = graph.shape[0], graph.n_users
    row, column = (torch.cat([own, more + users])
                   for own, more in ((graph.rows, rows), (graph.columns, columns)))  # fmt: skip
    values = normalised(row, column, torch.ones(len(row), device=row.device), nodes)
    return Sparse(row, column, values, graph.shape)


def _users_rows(graph: Sparse, users: int) -> Sparse:
    """The first rows, whose entries are all at items → (users, items)."""
    rows = graph.rows
    mine = rows < users
    shape = (users, graph.shape[1] - users)
    return Sparse(rows[mine], graph.columns[mine] - users, graph.values[mine], shape)
