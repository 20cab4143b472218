"""The least that a recommender is: ``loss`` and ``factors``; ``Reading`` also reads features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from mmx.recommend.protocol import FeatureTable, GradientModel, ModelConfig, World


@dataclass(frozen=True)
class Config(ModelConfig):
    """No settings at all."""


class Model(GradientModel):
    """Matrix factorisation."""

    def __init__(self, config: Config, world: World, generator: torch.Generator) -> None:
        super().__init__()
        self.user = nn.Parameter(torch.randn(world.n_users, 4, generator=generator))
        self.item = nn.Parameter(torch.randn(world.n_items, 4, generator=generator))

    def loss(
        self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor
    ) -> torch.Tensor:
        u, items = self.factors()
        return F.softplus((u[users] * (items[negatives] - items[positives])).sum(1)).mean()

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.user, self.item


class Table(nn.Module):
    """One modality's vectors."""

    matrix: torch.Tensor

    def __init__(self, matrix: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix, persistent=False)


class Reading(Model):
    """Users meet the items' pictures as they are stored."""

    def __init__(self, config: Config, world: World, generator: torch.Generator) -> None:
        super().__init__(config, world, generator)
        self.pictures = Table(torch.from_numpy(world.features["image"].matrix))
        self.project = nn.Parameter(torch.randn(4, self.pictures.matrix.shape[1]) / 4)

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.user, self.item + F.linear(self.pictures.matrix, self.project)

    def feature_tables(self, modality: str) -> list[FeatureTable]:
        return [self.pictures] if modality == "image" else []
