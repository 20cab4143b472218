"""DualGNN: a network for each modality over the user-item graph, then a graph of users.

Wang, Wei, Yin, Wu, Song and Nie, "DualGNN: Dual Graph Neural Network for Multimedia
Recommendation", IEEE Transactions on Multimedia 2023. The paper has three modalities; here there
are as many as the world has.

Equations: the networks over both graphs and users' weights of modalities, as MMRec has them,
without their numbers.

Released code: MMRec's adds the modalities of items up in the place where the first one's vectors
are, so that users, who weigh their modalities, weigh the sum of all in place of that one; here
users weigh each for itself. It scores with embeddings that the last batch of training left behind,
from before that batch's step; here scoring makes them. A user with fewer than 40 others in the
graph takes those that there are, while the code fills up by repeating some at random, again in each
epoch. It also makes graphs without a tenth of the items, and weights of items' modalities, which no
score reads. Its loss takes the logarithm to base 2, and so does this.

Items have no embedding of their own, so one that nobody took is scored as it is seen and read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from mmx.bounds import DEEPEST, WIDEST, check_settings, number, whole
from mmx.errors import OptionError
from mmx.recommend.blocks.content_net import ContentNet
from mmx.recommend.blocks.graph import UserItemGraph
from mmx.recommend.blocks.initial import xavier_normal
from mmx.recommend.blocks.losses import bpr_loss
from mmx.recommend.blocks.naming import module_key
from mmx.recommend.blocks.propagation import sum_of_layers
from mmx.recommend.blocks.user_graph import user_graph
from mmx.recommend.protocol import FeatureTable, GradientModel, ModelConfig, World


@dataclass(frozen=True)
class Config(ModelConfig):
    """Hyper-parameters of DualGNN. The code searches ``reg`` and the learning rate, 0.1 to 1e-5."""

    dim: int = 64  # length of embeddings
    layers: int = 2  # steps over the user-item graph
    user_neighbours: int = 40  # of the user graph
    reg: float = 1e-3  # λ: weight of the means of squares of users' own vectors and weights
    components: int = 1024  # principal components of longer features to project; 0: all numbers
    normalise: bool = True  # centre the feature vectors and scale them to norm 1 first

    def __post_init__(self) -> None:
        check_settings(
            self,
            dim=whole(1, WIDEST),
            layers=whole(0, DEEPEST),
            user_neighbours=whole(1),
            reg=number(0),
            components=whole(0),
        )

    def end_to_end(self) -> Config:
        """All components: the axes of vectors that change would change too."""
        return replace(self, components=0)


class Model(GradientModel):
    """ŷ_ui = (ū_u + Σ_v s_uv ū_v) · Σ_m y_im, ū_u = Σ_m w_um y_um.

    x_m are users' own vectors and items' contents of a modality, at norm 1, y_m their layers over
    the user-item graph, added up; w are users' weights of modalities, s the graph of users.
    """

    def __init__(self, config: Config, world: World, generator: torch.Generator) -> None:
        """Raises OptionError when the world has no features."""
        super().__init__()
        if not world.features:
            raise OptionError("dualgnn needs item features; give --features")
        self.config = config
        self.normalise = config.normalise
        self.graph = UserItemGraph(world.train)
        self.sharing = user_graph(world.train, config.user_neighbours)  # s
        self.content, self.user = nn.ModuleDict(), nn.ParameterDict()
        for name, given in sorted(world.features.items()):
            known = given.normalised() if config.normalise else given
            shortened = known.principal(config.components)
            self.content[module_key(name)] = ContentNet(shortened, config.dim, generator)
            self.user[module_key(name)] = xavier_normal(world.n_users, config.dim, generator)
        drawn = xavier_normal(world.n_users, len(world.features), generator).data
        self.weight = nn.Parameter(drawn.softmax(1))  # w (users, M)

    def loss(
        self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor
    ) -> torch.Tensor:
        """BPR over (B,) triples to base 2, and λ times the means of squares."""
        of_users, of_items = self.factors()
        u = F.embedding(users, of_users)  # (B, k)
        i, j = F.embedding(torch.stack([positives, negatives]), of_items)  # (B, k) each
        loss = bpr_loss((u * i).sum(1), (u * j).sum(1)) / math.log(2)
        squares = self.weight.square().mean()
        for own in self.user.values():
            squares = squares + F.embedding(users, own).square().mean()
        return loss + self.config.reg * squares

    def feature_tables(self, modality: str) -> list[FeatureTable]:
        """The modality's vectors."""
        net = cast(ContentNet, self.content[module_key(modality)])
        return [net.project.content]

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(users, k) and (items, k)."""
        pairs = zip(self.user.values(), self.content.values(), strict=True)
        nodes = [F.normalize(torch.cat([own, content()])) for own, content in pairs]  # x_m
        y = sum_of_layers(self.graph, torch.cat(nodes, 1), self.config.layers)  # (nodes, M k)
        of_users, of_items = (
            part.unflatten(1, (len(nodes), -1)) for part in self.graph.split(y)
        )  # (users, M, k), (items, M, k)
        mixed = (of_users * self.weight[:, :, None]).sum(1)  # ū
        return mixed + self.sharing(mixed), of_items.sum(1)
