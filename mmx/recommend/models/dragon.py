"""DRAGON: a network for each modality over the user-item graph, then graphs of users and of items.

Zhou, Zhou, Zhang and Shen, "Enhancing Dyadic Relations with Homogeneous Graphs for Multimodal
Recommendation", ECAI 2023 (arXiv 2301.12097). The paper has two modalities; here there are as many
as the world has.

Equations: those of the whole method, without their numbers.

Released code: scores with embeddings that the last batch of training left behind, from before that
batch's step; here scoring makes them. A user with fewer than 40 others in the graph takes those
that there are, while the code fills up by repeating some at random, again in each epoch. It also
makes graphs without a tenth of the items, which nothing reads. Its loss takes the logarithm to base
2, and so does this.

Items have no embedding of their own, so one that nobody took is scored as it is seen and read.

Defaults are the paper's for Baby and Sports; Clothing has ``reg`` 0.1. The paper's learning rate is
a tenth of mmx's: ``--lr 0.0001``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from mmx.bounds import DEEPEST, WIDEST, check_settings, number, whole
from mmx.errors import OptionError
from mmx.recommend.blocks.content_net import ContentNet
from mmx.recommend.blocks.frozen_graph import frozen_graph, graph_shares
from mmx.recommend.blocks.graph import UserItemGraph
from mmx.recommend.blocks.initial import xavier_normal
from mmx.recommend.blocks.losses import bpr_loss
from mmx.recommend.blocks.modalities import parse_weights
from mmx.recommend.blocks.naming import module_key
from mmx.recommend.blocks.propagation import sum_of_layers
from mmx.recommend.blocks.user_graph import user_graph
from mmx.recommend.protocol import GradientModel, ModelConfig, World


@dataclass(frozen=True)
class Config(ModelConfig):
    """Hyper-parameters of DRAGON.

    The paper searches ``reg`` and the learning rate in 0.1 to 1e-5, the image's weight in 0.1 to
    0.9, ``neighbours`` in 5, 10 and 20, ``user_neighbours`` in 30, 40 and 50, ``item_layers`` in 1
    and 2.
    """

    dim: int = 64  # length of embeddings, of each modality
    layers: int = 2  # steps over the user-item graph
    item_layers: int = 1  # steps over the item graph
    neighbours: int = 10  # k of the item graph, an item itself among them
    user_neighbours: int = 40  # of the user graph
    weights: str = ""  # of modalities in it, image:0.3,text:0.7; empty: image 0.1, others 0.9
    reg: float = 1e-3  # λ: weight of the means of squares of users' own vectors
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
            reg=number(0),
            components=whole(0),
        )
        parse_weights(self.weights)


class Model(GradientModel):
    """ŷ_ui = (ū_u + Σ_v s_uv ū_v) · (ȳ_i + h_i), h = S^l ȳ.

    x_m are users' own vectors and items' contents of a modality, at norm 1, y_m their layers over
    the user-item graph, added up. ȳ has the y_m of all modalities side by side, ū the same times
    w_um, users' weights of modalities. S is the item graph, s the graph of users.
    """

    def __init__(self, config: Config, world: World, generator: torch.Generator) -> None:
        """Raises OptionError when the world has no features."""
        super().__init__()
        if not world.features:
            raise OptionError("dragon needs item features; give --features")
        self.config = config
        self.graph = UserItemGraph(world.train)
        features = {n: f.normalised() if config.normalise else f for n, f in world.features.items()}
        shares = graph_shares(config.weights, features)
        self.alike = frozen_graph(features, config.neighbours, shares)  # S
        self.sharing = user_graph(world.train, config.user_neighbours)  # s
        self.content, self.user = nn.ModuleDict(), nn.ParameterDict()
        for name, found in sorted(features.items()):
            shortened = found.principal(config.components)
            self.content[module_key(name)] = ContentNet(shortened, config.dim, generator)
            self.user[module_key(name)] = xavier_normal(world.n_users, config.dim, generator)
        drawn = xavier_normal(world.n_users, len(features), generator).data
        self.weight = nn.Parameter(drawn.softmax(1))  # w (users, M)

    def loss(
        self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor
    ) -> torch.Tensor:
        """BPR over (B,) triples to base 2, and λ times the means of squares."""
        of_users, of_items = self.factors()
        u = F.embedding(users, of_users)  # (B, M k)
        i, j = F.embedding(torch.stack([positives, negatives]), of_items)  # (B, M k) each
        loss = bpr_loss((u * i).sum(1), (u * j).sum(1)) / math.log(2)
        squares = self.weight.square().mean()
        for own in self.user.values():
            squares = squares + F.embedding(users, own).square().mean()
        return loss + self.config.reg * squares

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(users, M k) and (items, M k)."""
        pairs = zip(self.user.values(), self.content.values(), strict=True)
        nodes = [F.normalize(torch.cat([own, content()])) for own, content in pairs]  # x_m
        y = sum_of_layers(self.graph, torch.cat(nodes, 1), self.config.layers)  # (nodes, M k)
        of_users, of_items = self.graph.split(y)
        of_users = of_users * self.weight.repeat_interleave(self.config.dim, 1)  # ū
        similar = of_items
        for _ in range(self.config.item_layers):
            similar = self.alike(similar)
        return of_users + self.sharing(of_users), of_items + similar
