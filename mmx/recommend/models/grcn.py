"""GRCN: contents say which pairs of the user-item graph count, and ids are propagated over those.

Wei, Wang, Nie, He and Chua, "Graph-Refined Convolutional Network for Multimedia Recommendation
with Implicit Feedback", MM 2020 (arXiv 2008.10294). In each modality a user is a prototype, which
is routed to the items taken; how near it is to an item weighs the edge between them. The paper has
three modalities, here there are as many as the world has.

Equations: those of the whole method, without their numbers.

Released code: edges lead from users to items while it routes, so that nothing reaches the users and
their prototypes stay as they were (MMRec's copy has the same; it is ``routings=0`` here); this
follows the paper. MMRec also adds the mean square of all users' image
prototypes to the loss; the authors do not, nor does this. Both score with the embeddings that the
last training batch left behind; here they are of the parameters as they are.

An item that nobody took keeps its own projected contents and its id, which was a negative only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from mmx.bounds import DEEPEST, WIDEST, check_settings, number, whole
from mmx.errors import OptionError
from mmx.recommend.blocks.attention import attended, entry_products, of_columns
from mmx.recommend.blocks.content import ProjectedContent
from mmx.recommend.blocks.graph import Sparse, UserItemGraph
from mmx.recommend.blocks.initial import xavier
from mmx.recommend.blocks.losses import bpr_loss
from mmx.recommend.blocks.naming import module_key
from mmx.recommend.blocks.unit import unit
from mmx.recommend.features import Features
from mmx.recommend.protocol import FeatureTable, GradientModel, ModelConfig, World

SLOPE = 0.01  # of the leaky rectifier


@dataclass(frozen=True)
class Config(ModelConfig):
    """Hyper-parameters of GRCN.

    The authors search ``reg`` and the learning rate; theirs for all data sets is not published.
    """

    dim: int = 64  # length of embeddings, and of each modality's prototypes
    layers: int = 2  # steps of the ids over the refined graph
    routings: int = 3  # times that prototypes move to the items taken
    reg: float = 1e-3  # λ: weight of the mean squares of what a triple touches
    components: int = 1024  # principal components of longer features to project; 0: all numbers
    normalise: bool = True  # centre the feature vectors and scale them to norm 1 first

    def __post_init__(self) -> None:
        check_settings(
            self,
            dim=whole(1, WIDEST),
            layers=whole(0, DEEPEST),
            routings=whole(0, DEEPEST),
            reg=number(0),
            components=whole(0),
        )

    def end_to_end(self) -> Config:
        """All components: the axes of vectors that change would change too."""
        return replace(self, components=0)


class Prototypes(nn.Module):
    """One modality: users' prototypes, routed to their items, and how near the two are."""

    def __init__(
        self, given: Features, users: int, config: Config, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.routings = config.routings
        known = given.normalised() if config.normalise else given
        shortened = known.principal(config.components)
        self.project = ProjectedContent(shortened, config.dim, generator, normalise=False)  # W, b
        self.user = xavier(users, config.dim, generator)

    def forward(self, history: Sparse) -> tuple[torch.Tensor, torch.Tensor]:
        """Prototypes and contents (users + items, k), and e^{p_u · v_i} of each pair (pairs,).

        ``history`` is (users, items); v = norm(leaky(W f + b)), p ← norm(p + Σ_i a_ui v_i) where
        a_ui is the softmax of p·v over the user's items.
        """
        v = unit(F.leaky_relu(self.project(), SLOPE))  # (items, k)
        p = unit(self.user)  # (users, k)
        for _ in range(self.routings):
            p = unit(p + attended(history, self._near(p, v, history), v)[0])
        return torch.cat([p, v]), self._near(p, v, history)

    @staticmethod
    def _near(p: torch.Tensor, v: torch.Tensor, history: Sparse) -> torch.Tensor:
        return entry_products(p, v, history).exp()


class Model(GradientModel):
    """ŷ_ui = e_u · e_i, e the id's layers summed and each modality's vector, side by side.

    A modality's vector x_m = [p; v] also takes its neighbours', x_m + Σ_c a^m_rc x_m,c, with a^m_rc
    the softmax of p·v over the neighbours c of node r. Ids are summed over w_rc =
    relu(max_m a^m_rc s_cm), s_cm being the confidence in modality m at node c.
    """

    def __init__(self, config: Config, world: World, generator: torch.Generator) -> None:
        """Raises OptionError when the world has no features."""
        super().__init__()
        if not world.features:
            raise OptionError(
                "grcn needs item features; give --features, or choose --model lightgcn"
            )
        self.config = config
        self.graph = UserItemGraph(world.train)
        ones = torch.ones(len(self.graph.users))
        shape = (world.n_users, world.n_items)
        self.history = Sparse(self.graph.users, self.graph.items, ones, shape)
        self.nodes = nn.Parameter(torch.empty(self.graph.shape[0], config.dim))
        for part in self.graph.split(self.nodes.data):  # of users, of items
            nn.init.xavier_uniform_(part, generator=generator)
        self.modalities = nn.ModuleDict()
        for name, features in sorted(world.features.items()):
            modality = Prototypes(features, world.n_users, config, generator)
            self.modalities[module_key(name)] = modality
        self.trust = xavier(self.graph.shape[0], len(world.features), generator)  # s

    def loss(
        self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor
    ) -> torch.Tensor:
        """BPR over (B,) triples, and λ times the mean squares of their ids and prototypes."""
        rows = torch.cat([users, *(items + self.graph.n_users for items in (positives, negatives))])
        u, i, j = F.embedding(rows, self._final()).split(len(users))  # (B, (1 + M) k) each
        loss = bpr_loss((u * i).sum(1), (u * j).sum(1))
        if not self.config.reg:
            return loss
        mine, *items = F.embedding(rows, self.nodes).square().mean(1).split(len(users))
        squares = mine + torch.stack(items).mean(0)  # (B,)
        for modality in self.modalities.values():
            prototypes = F.embedding(users, cast(Prototypes, modality).user)  # (B, k)
            squares = squares + prototypes.square().mean(1)
        return loss + self.config.reg * squares.mean()

    def feature_tables(self, modality: str) -> list[FeatureTable]:
        """The modality's vectors."""
        found = cast(Prototypes, self.modalities[module_key(modality)])
        return [found.project.content]

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(users, (1 + M) k) and (items, (1 + M) k)."""
        return self.graph.split(self._final())

    def _final(self) -> torch.Tensor:
        """e of every node → (users + items, (1 + M) k)."""
        vectors, near = [], []
        for modality in self.modalities.values():
            x, of_pairs = modality(self.history)
            weights = self.graph.values_of(of_pairs)  # (entries,)
            means, sums = attended(self.graph, weights, x)
            vectors.append(x + means)
            near.append(weights / sums.index_select(0, self.graph.rows))  # a^m
        trusted = torch.stack(near, 1) * of_columns(self.graph, self.trust)
        return torch.cat([self._ids(torch.relu(trusted.amax(1))), *vectors], 1)

    def _ids(self, weights: torch.Tensor) -> torch.Tensor:
        """x + W x + W² x of the ids at norm 1 → (nodes, k), for (entries,) weights."""
        x = unit(self.nodes)
        total = x
        for _ in range(self.config.layers):
            x = self.graph(x, weights)
            total = total + x
        return total
