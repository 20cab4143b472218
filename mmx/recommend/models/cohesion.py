"""COHESION: a network of ids beside those of modalities, which have the ids in them; three graphs.

Xu, Chen, Wang, Hu, Kim and Ngai, "COHESION: Composite Graph Convolutional Network with Dual-Stage
Fusion for Multimodal Recommendation", SIGIR 2025 (arXiv 2504.04452). The paper has two modalities;
here there are as many as the world has.

Equations: those of the released code, without their numbers.

Released code: takes the ids' network as a constant in the loss, so that its users and layers, which
are scored, stay as they were drawn; here it is trained, and ``train_ids=false`` leaves it so. Its
L2 term also has users' weights of modalities, which no score reads. It scores with embeddings that
the last batch of training left behind, from before that batch's step and over that epoch's graph;
here scoring makes them, over the whole one. A user with fewer than 40 others in the graph takes
those that there are, while the code fills up by repeating some at random, again in each epoch. Its
loss takes the logarithm to base 2, and so does this.

An item's own id is in all of its vectors, so one that nobody took is not scored by contents alone.
Defaults are a point of the grid of the authors' code, which names no best one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from mmx.bounds import DEEPEST, WIDEST, check_settings, number, whole
from mmx.errors import OptionError
from mmx.recommend.blocks.content_net import HIDDEN, ContentNet
from mmx.recommend.blocks.frozen_graph import frozen_graph, graph_shares
from mmx.recommend.blocks.graph import Sparse, UserItemGraph
from mmx.recommend.blocks.initial import linear, xavier_normal
from mmx.recommend.blocks.losses import bpr_loss
from mmx.recommend.blocks.modalities import parse_weights
from mmx.recommend.blocks.naming import module_key
from mmx.recommend.blocks.pruning import pruned
from mmx.recommend.blocks.refined import refined_sum
from mmx.recommend.blocks.user_graph import user_graph
from mmx.recommend.protocol import GradientModel, ModelConfig, World

LEAST = 1e-8  # of a mean square, whose root has no slope at 0


@dataclass(frozen=True)
class Config(ModelConfig):
    """Hyper-parameters of COHESION.

    The authors' code searches ``layers`` in 1 to 4, ``reg`` in 1e-4 to 0.1, the learning rate in
    1e-4 to 0.1; a later version ``pruned`` in 0 to 0.4 and ``neighbours`` in 10, 15 and 20 too.
    """

    dim: int = 64  # length of embeddings, of the ids and of each modality
    layers: int = 2  # steps over the user-item graph
    item_layers: int = 1  # steps over the item graph
    neighbours: int = 10  # k of the item graph, an item itself among them
    user_neighbours: int = 40  # of the user graph
    weights: str = ""  # of modalities in it, image:0.3,text:0.7; empty: image 0.1, others 0.9
    pruned: float = 0.0  # share of training pairs left out of an epoch's graph
    reg: float = 1e-3  # λ: weight of the means of squares of users' own vectors
    train_ids: bool = True  # train the ids' network, instead of leaving it as drawn
    components: int = 1024  # principal components of longer features to project; 0: all numbers
    normalise: bool = True  # centre the feature vectors and scale them to norm 1 first

    def __post_init__(self) -> None:
        check_settings(
            self,
            dim=whole(1, WIDEST),
            layers=whole(0, DEEPEST),
            item_layers=whole(0, DEEPEST),
            neighbours=whole(1),
            user_neighbours=whole(1),
            pruned=number(0, 1, below=True),
            reg=number(0),
            components=whole(0),
        )
        parse_weights(self.weights)


class Model(GradientModel):
    """ŷ_ui = (y_u + Σ_v s_uv y_v) · (y_i + h_i), h = S^l y.

    x_m are users' own vectors and items' √((e² + c_m²)/2) at norm 1, where e are the items' ids
    and c_m their contents of a modality, or the ids through a network of that shape. y_m is the
    sum of LayerGCN's layers of x_m over the user-item graph and of x_m itself; y has the y_m of
    the ids and of all modalities side by side. S is the item graph, s the graph of users. The
    user-item graph is pruned in training and whole in scoring.
    """

    def __init__(self, config: Config, world: World, generator: torch.Generator) -> None:
        """Raises OptionError when the world has no features."""
        super().__init__()
        if not world.features:
            raise OptionError("cohesion needs item features; give --features")
        self.config, k = config, config.dim
        self.graph = UserItemGraph(world.train)
        self._pruned: Sparse = self.graph  # this epoch's part of it
        features = {n: f.normalised() if config.normalise else f for n, f in world.features.items()}
        shares = graph_shares(config.weights, features)
        self.alike = frozen_graph(features, config.neighbours, shares)  # S
        self.sharing = user_graph(world.train, config.user_neighbours)  # s
        self.content, self.user = nn.ModuleDict(), nn.ParameterDict()
        for name, found in sorted(features.items()):
            shortened = found.principal(config.components)
            self.content[module_key(name)] = ContentNet(shortened, k, generator)
            self.user[module_key(name)] = xavier_normal(world.n_users, k, generator)
        self.ids = xavier_normal(world.n_items, k, generator)  # e
        self.own = xavier_normal(world.n_users, k, generator)  # users' vectors beside them
        inner, outer = linear(k, HIDDEN * k, generator), linear(HIDDEN * k, k, generator)
        self.of_ids = nn.Sequential(inner, nn.LeakyReLU(), outer)
        for parameter in (self.own, *self.of_ids.parameters()):
            parameter.requires_grad_(config.train_ids)

    def epoch_start(self, generator: torch.Generator) -> None:
        """Draw the epoch's graph."""
        self._pruned = pruned(self.graph, self.config.pruned, generator)

    def loss(
        self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor
    ) -> torch.Tensor:
        """BPR over (B,) triples to base 2, and λ times the means of squares.

        Of each triple a network weighs less the more it tells the items apart already: 1 - softmax
        of the differences of its scores, as constants.
        """
        of_users, of_items = self._final(self._pruned)
        u = F.embedding(users, of_users)  # (B, N k)
        each = u * F.embedding(torch.stack([positives, negatives]), of_items)  # (2, B, N k)
        positive, negative = each.unflatten(2, (-1, self.config.dim)).sum(3)  # (B, N) each
        weights = 1 - (positive - negative).detach().softmax(1)
        loss = bpr_loss((weights * positive).sum(1), (weights * negative).sum(1)) / math.log(2)
        squares = [F.embedding(users, own).square().mean() for own in self.user.values()]
        return loss + self.config.reg * torch.stack(squares).sum()

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(users, N k) and (items, N k) of N networks, over the whole graph."""
        return self._final(self.graph)

    def _final(self, graph: Sparse) -> tuple[torch.Tensor, torch.Tensor]:
        """y + Σ s y of the users, y + h of the items, y over ``graph``."""
        users, items = self.graph.split(self._layers(graph))
        similar = items
        for _ in range(self.config.item_layers):
            similar = self.alike(similar)
        return users + self.sharing(users), items + similar

    def _layers(self, graph: Sparse) -> torch.Tensor:
        """y → (nodes, N k), all networks in one product a step."""
        start = self._start()  # (nodes, N k)
        own = start.view(-1, self.config.dim)  # (nodes N, k)
        return start + refined_sum(graph, start, own, self.config.layers)

    def _start(self) -> torch.Tensor:
        """x of the ids and of all modalities side by side → (nodes, N k)."""
        with torch.autocast(self.ids.device.type, enabled=False):  # its slopes turn at 0
            ids = self._mixed(self.own, self.of_ids(self.ids))
        pairs = zip(self.user.values(), self.content.values(), strict=True)
        each = [ids if self.config.train_ids else ids.detach()]
        each += [self._mixed(own, content()) for own, content in pairs]
        return torch.cat(each, 1)

    def _mixed(self, own: torch.Tensor, contents: torch.Tensor) -> torch.Tensor:
        """Users' (users, k) and items' (items, k) with their ids in them → (nodes, k) of norm 1."""
        squares = (self.ids.square() + contents.square()) / 2
        return F.normalize(torch.cat([own, (squares + LEAST).sqrt()]))
