"""BM3: embeddings that predict each other and their items' features, without negatives.

Zhou, Zhou, Liu, Zeng, Miao, Wang, You and Jiang, "Bootstrap Latent Representations for
Multi-modal Recommendation", WWW 2023 (arXiv 2207.05969). A target is the same vector with some of
its numbers dropped and without gradient; one predictor P serves ids and all modalities.

Features shape the embeddings in training and do not enter the score. The embedding of an item that
nobody took learns from no pair: its score says nothing.

Equations: those of the whole method, without their numbers; the factor 1/(1 - p) of dropout cancels
in a cosine and is left out.

Released code: its regulariser, with which its grid of λ was searched, is followed: norms of all
users' and all items' embeddings, not squared, over the number of items. It also trains the raw
feature vectors; here they are frozen, and only those of a batch's items are projected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from mmx.bounds import DEEPEST, WIDEST, check_settings, number, whole
from mmx.devices import sent
from mmx.errors import OptionError
from mmx.recommend.blocks.batch import unique_padded
from mmx.recommend.blocks.content import ProjectedContent, projections
from mmx.recommend.blocks.graph import UserItemGraph
from mmx.recommend.blocks.initial import linear, own_generator
from mmx.recommend.blocks.naming import module_key
from mmx.recommend.blocks.propagation import mean_of_layers
from mmx.recommend.protocol import FeatureTable, GradientModel, ModelConfig, World


@dataclass(frozen=True)
class Config(ModelConfig):
    """Hyper-parameters of BM3.

    The paper searches ``layers`` in 1 and 2, ``dropout`` in 0.3 and 0.5, ``reg`` in 0.1 and 0.01.
    On the sample one layer left the Recall of popularity, where training starts, sooner than two.
    """

    dim: int = 64  # length of user and item embeddings and of projected features
    layers: int = 1  # L, steps over the user-item graph
    dropout: float = 0.3  # p: share of a target's numbers that are dropped
    content_weight: float = 2.0  # weight of what the modalities have to predict
    reg: float = 1.0  # λ: weight of (‖U‖ + ‖I‖) / items, of all users and items
    normalise: bool = True  # centre the feature vectors and scale them to norm 1 first

    def __post_init__(self) -> None:
        check_settings(
            self,
            dim=whole(1, WIDEST),
            layers=whole(0, DEEPEST),
            dropout=number(0, 1, below=True),
            content_weight=number(0),
            reg=number(0),
        )


class Model(GradientModel):
    """ŷ_ui = P(U_u) · P(I_i), U and I the means of LightGCN's layers, to I the embeddings added."""

    whole_batch = True  # what dropout draws is of the whole batch
    generator: torch.Generator  # of its steps

    def __init__(self, config: Config, world: World, generator: torch.Generator) -> None:
        """Raises OptionError when the world has no features."""
        super().__init__()
        if not world.features:
            raise OptionError("bm3 needs item features; give --features")
        self.config = config
        self.normalise = config.normalise
        self.graph = UserItemGraph(world.train)
        self.nodes = nn.Parameter(torch.empty(self.graph.shape[0], config.dim))
        for part in self.graph.split(self.nodes.data):  # of users, of items
            nn.init.xavier_uniform_(part, generator=generator)
        self.predict = linear(config.dim, config.dim, generator)  # P
        self.project = projections(
            world.features, config.dim, generator, normalise=config.normalise
        )
        self.generator = own_generator(generator)

    def loss(
        self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor
    ) -> torch.Tensor:
        """The users and positives of (B,) triples predict each other; negatives play no part."""
        all_users, all_items = self._final()
        who, of_user, _ = unique_padded(users, self.graph.n_users)  # (m,), (B,)
        what, of_item, counts = unique_padded(positives, self.graph.n_items)
        u, i = F.embedding(who, all_users), F.embedding(what, all_items)  # (m, k), (n, k)
        to_user, to_item = self._target(u), self._target(i)
        # reconstruction of the graph: each pair both ways
        online = F.embedding(of_user, self.predict(u)), F.embedding(of_item, self.predict(i))
        loss = _distance(online[0], to_item[of_item]).mean()
        loss = loss + _distance(online[1], to_user[of_user]).mean()
        share = counts / len(users)  # (n,) of the batch's pairs
        for project in self.project.values():
            content = project(what)  # (n, k)
            predicted = self.predict(content)
            # alignment with the item, then with the modality's own masked vector
            apart = _distance(predicted, to_item) + _distance(predicted, self._target(content))
            loss = loss + self.config.content_weight * (share * apart).sum()
        norms = all_users.norm() + all_items.norm()
        return loss + self.config.reg * norms / self.graph.n_items

    def feature_tables(self, modality: str) -> list[FeatureTable]:
        """The modality's vectors."""
        project = cast(ProjectedContent, self.project[module_key(modality)])
        return [cast(FeatureTable, project.content)]

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """P(U) (users, k) and P(I) (items, k); nothing is dropped."""
        users, items = self._final()
        return self.predict(users), self.predict(items)

    def draw(self, rows: int) -> torch.Tensor:
        """(rows, k) bool from the model's own generator: what dropout keeps of a target."""
        where = self.generator.device
        kept = torch.empty(rows, self.config.dim, dtype=torch.bool, device=where)
        kept.bernoulli_(1 - self.config.dropout, generator=self.generator)
        return sent(kept, self.nodes.device)

    def _target(self, x: torch.Tensor) -> torch.Tensor:
        """(n, k) vectors with some of their numbers dropped, as constants."""
        return x.detach() * self.draw(len(x))

    def _final(self) -> tuple[torch.Tensor, torch.Tensor]:
        """U (users, k), and I (items, k) with the residual connection."""
        users, items = self.graph.split(mean_of_layers(self.graph, self.nodes, self.config.layers))
        return users, items + self.graph.split(self.nodes)[1]


def _distance(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """1 - cos of the rows of (n, k) each → (n,); 1 where one of them is zero."""
    return 1 - F.cosine_similarity(left, right)
