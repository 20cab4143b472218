"""MMGCF: LightGCN, whose items' embeddings are fused with their projected contents at the end.

"Multimodal Graph Collaborative Filtering for Recommendation with Graph Convolutional Networks",
UMAP 2026. Its ``fusion`` is the mean, the sum or a linear map of vectors side by
side; its ``weighting`` of ids and contents is one of

    equal       contents are fused first, and the result with the id
    alpha       the id times σ(a), contents times 1 - σ(a), a learned, all fused at once
    normalised  all vectors at norm 1, the id times the number of modalities, fused at once

Each epoch trains on a part of the pairs, drawn as FREEDOM draws them. Users are ids alone. An item
that nobody took has its own id, which was a negative only, and its contents.

Equations: all three fusions and weightings as MMRec has them, without their numbers.

Released code: MMRec's, which this follows.

It searches 1 to 3 layers, ``pruned`` in 0.2, 0.5 and 0.8, ``reg`` in 0.1 to 1e-4.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from mmx.bounds import DEEPEST, WIDEST, check_settings, number, whole
from mmx.errors import OptionError, one_of
from mmx.recommend.blocks.batch import unique_padded
from mmx.recommend.blocks.content import ProjectedContent, projections
from mmx.recommend.blocks.graph import Sparse, UserItemGraph
from mmx.recommend.blocks.initial import linear
from mmx.recommend.blocks.losses import bpr_loss, l2_of_batch
from mmx.recommend.blocks.naming import module_key
from mmx.recommend.blocks.propagation import mean_of_layers
from mmx.recommend.blocks.pruning import pruned
from mmx.recommend.protocol import FeatureTable, GradientModel, ModelConfig, World

FUSIONS = ("mean", "sum", "concat")
WEIGHTINGS = ("equal", "alpha", "normalised")


@dataclass(frozen=True)
class Config(ModelConfig):
    """Hyper-parameters of MMGCF."""

    dim: int = 64  # length of user and item embeddings and of projected features
    layers: int = 2  # steps over the user-item graph
    fusion: str = "mean"  # mean, sum or concat
    weighting: str = "equal"  # equal, alpha or normalised
    pruned: float = 0.2  # share of training pairs left out of an epoch's graph
    reg: float = 1e-3  # λ: weight of ½‖·‖² of the ids' embeddings that a triple touches
    components: int = 1024  # principal components of longer features to project; 0: all numbers
    normalise: bool = True  # centre the feature vectors and scale them to norm 1 first

    def __post_init__(self) -> None:
        check_settings(
            self,
            dim=whole(1, WIDEST),
            layers=whole(0, DEEPEST),
            pruned=number(0, 1, below=True),
            reg=number(0),
            components=whole(0),
        )
        one_of("--set fusion", self.fusion, FUSIONS)
        one_of("--set weighting", self.weighting, WEIGHTINGS)

    def end_to_end(self) -> Config:
        """All components: the axes of vectors that change would change too."""
        return replace(self, components=0)


class Model(GradientModel):
    """ŷ_ui = x̂_u · fused(x̂_i, W_m f_im + b_m), x̂ the mean of LightGCN's layers over the ids."""

    def __init__(self, config: Config, world: World, generator: torch.Generator) -> None:
        """Raises OptionError when the world has no features."""
        super().__init__()
        if not world.features:
            raise OptionError("mmgcf needs item features; give --features, or --model lightgcn")
        self.config, k, count = config, config.dim, len(world.features)
        self.normalise = config.normalise
        self.graph = UserItemGraph(world.train)
        self._pruned: Sparse = self.graph  # this epoch's part of it
        self.nodes = nn.Parameter(torch.empty(self.graph.shape[0], k))  # x
        for part in self.graph.split(self.nodes.data):  # of users, of items
            nn.init.xavier_uniform_(part, generator=generator)
        features = {n: f.normalised() if config.normalise else f for n, f in world.features.items()}
        shortened = {name: found.principal(config.components) for name, found in features.items()}
        self.project = projections(shortened, k, generator, normalise=False)
        if config.weighting == "alpha":
            self.alpha = nn.Parameter(torch.zeros(()))  # a
        if config.fusion == "concat":
            first = config.weighting == "equal" and count > 1
            self.join_contents = linear(count * k, k, generator) if first else None
            self.join = linear((2 if config.weighting == "equal" else 1 + count) * k, k, generator)

    def epoch_start(self, generator: torch.Generator) -> None:
        """Draw the epoch's graph."""
        self._pruned = pruned(self.graph, self.config.pruned, generator)

    def loss(
        self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor
    ) -> torch.Tensor:
        """BPR over (B,) triples with L2 on layer 0; contents of the batch's items are projected."""
        both = torch.cat([positives, negatives])  # (2B,)
        items, place, _ = unique_padded(both, self.graph.n_items)  # (n,), (2B,)
        final = self._final(self._pruned)
        fused = self._fused(F.embedding(items + self.graph.n_users, final), items)  # (n, k)
        u = F.embedding(users, final)  # (B, k)
        i, j = F.embedding(place, fused).split(len(users))  # (B, k) each
        loss = bpr_loss((u * i).sum(1), (u * j).sum(1))
        rows = torch.cat([users, *(part + self.graph.n_users for part in (positives, negatives))])
        first = F.embedding(rows, self.nodes).split(len(users))
        return loss + self.config.reg * l2_of_batch(*first)

    def feature_tables(self, modality: str) -> list[FeatureTable]:
        """The modality's vectors."""
        return [cast(ProjectedContent, self.project[module_key(modality)]).content]

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(users, k) and (items, k), over the whole graph."""
        users, items = self.graph.split(self._final(self.graph))
        return users, self._fused(items, None)

    def _final(self, graph: Sparse) -> torch.Tensor:
        """x̂ → (users + items, k)."""
        return mean_of_layers(graph, self.nodes, self.config.layers)

    def _fused(self, ids: torch.Tensor, items: torch.Tensor | None) -> torch.Tensor:
        """(n, k) embeddings of (n,) items, or of all, with their contents → (n, k)."""
        contents = [project(items) for project in self.project.values()]  # (n, k) each
        if self.config.weighting == "equal":
            one = contents[0] if len(contents) == 1 else self._joined(contents, "join_contents")
            return self._joined([ids, one], "join")
        if self.config.weighting == "alpha":
            share = torch.sigmoid(self.alpha)
            weighed = [ids * share, *(x * (1 - share) for x in contents)]
        else:
            weighed = [F.normalize(ids) * len(contents), *(F.normalize(x) for x in contents)]
        return self._joined(weighed, "join")

    def _joined(self, parts: list[torch.Tensor], layer: str) -> torch.Tensor:
        if self.config.fusion == "concat":
            joined = cast(nn.Linear, self.get_submodule(layer))
            return joined(torch.cat(parts, 1)).float()
        total = torch.stack(parts).sum(0)
        return total / len(parts) if self.config.fusion == "mean" else total
