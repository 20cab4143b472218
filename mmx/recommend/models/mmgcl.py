"""MMGCL: multi-modal graph channels, contrasted over two augmented views with hard negatives.

Yi, Wang, Ounis and Macdonald, "Multi-modal Graph Contrastive Learning for Micro-video
Recommendation", SIGIR 2022. View 1 drops edges of the graph (modality edge dropout), view 2
masks one modality of some items (modality masking); the challenging negative of a user is the
positive item with one modality exchanged for that of the sampled negative item.

Equations: those of the whole method, without their numbers.

Released code: not compared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F

from mmx.bounds import DEEPEST, WIDEST, check_settings, number, whole
from mmx.devices import sent
from mmx.errors import OptionError
from mmx.recommend.blocks.channels import Channels
from mmx.recommend.blocks.initial import linear, own_generator, uniform
from mmx.recommend.blocks.losses import bpr_loss
from mmx.recommend.blocks.naming import module_key
from mmx.recommend.protocol import FeatureTable, GradientModel, ModelConfig, World


@dataclass(frozen=True)
class Config(ModelConfig):
    """Hyper-parameters of MMGCL."""

    dim: int = 64  # length of every channel's embeddings and of the fused ones
    layers: int = 3  # steps of propagation
    ssl_weight: float = 0.01  # λ: weight of the contrastive loss
    temperature: float = 0.2  # τ
    edge_dropout: float = 0.1  # share of training pairs left out of view 1
    masking: float = 0.1  # share of items whose chosen modality is masked in view 2
    components: int = 1024  # principal components kept of longer features; 0 keeps them whole
    normalise: bool = True  # centre feature vectors and scale them to norm 1 first

    def __post_init__(self) -> None:
        check_settings(
            self,
            dim=whole(1, WIDEST),
            layers=whole(0, DEEPEST),
            ssl_weight=number(0),
            temperature=number(0, above=True),
            edge_dropout=number(0, 1, below=True),
            masking=number(0, 1, below=True),
            components=whole(0),
        )

    def end_to_end(self) -> Config:
        """All components: the axes of vectors that change would change too."""
        return replace(self, components=0)


@dataclass(frozen=True)
class Draws:
    """What is random in one step."""

    kept: torch.Tensor  # (pairs,) bool: training pairs that view 1 keeps
    masked: torch.Tensor  # (items, 1) bool: items whose modality view 2 masks
    modality: torch.Tensor  # () int64: which modality view 2 masks
    exchanged: torch.Tensor  # () int64: which one of the positive item the hard negative exchanges


class Model(GradientModel):
    """ŷ_ui = z_u · z_i, where z is a linear map of a node's channels side by side."""

    whole_batch = True  # the other rows of a batch are the contrast
    generator: torch.Generator  # of its steps

    def __init__(self, config: Config, world: World, generator: torch.Generator) -> None:
        """Raises OptionError when the world has no features."""
        super().__init__()
        if not world.features:
            raise OptionError("mmgcl needs item features; give --features")
        self.config, k = config, config.dim
        self.normalise = config.normalise
        self.channels = Channels(world, k, config.layers, generator, normalise=config.normalise,
                                 components=config.components)  # fmt: skip
        self.read_user = linear(self.channels.width, k, generator)
        self.read_item = linear(self.channels.width, k, generator)
        self.generator = own_generator(generator)

    def loss(
        self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor
    ) -> torch.Tensor:
        """BPR of (B,) triples plus λ times InfoNCE in each of the two views."""
        draws, starts = self.draw(), self.channels.starts()
        of_users, of_items = self.channels.propagate(starts)
        u = self.read_user(of_users[users])  # (B, k)
        i, j = self.read_item(of_items[positives]), self.read_item(of_items[negatives])
        main = bpr_loss((u * i).sum(1), (u * j).sum(1))
        edges = self.channels.graph.values_of(self.channels.graph.weights(draws.kept))
        ids, *contents = starts
        masked = [ids, *(x.masked_fill(draws.masked & (draws.modality == m), 0.0)
                         for m, x in enumerate(contents))]  # fmt: skip
        contrast = sum(
            self._contrast(*view, users, positives, negatives, draws.exchanged)
            for view in (
                self.channels.propagate(starts, edges),
                self.channels.propagate(masked),
            )
        )
        return main + self.config.ssl_weight * contrast

    def feature_tables(self, modality: str) -> list[FeatureTable]:
        """The modality's vectors."""
        return [cast(FeatureTable, self.channels.content[module_key(modality)])]

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(users, k) and (items, k)."""
        of_users, of_items = self.channels.propagate(self.channels.starts())
        return self.read_user(of_users), self.read_item(of_items)

    def draw(self) -> Draws:
        """The random choices of one step, from the model's own generator."""
        pairs, items = len(self.channels.graph.users), len(self.channels.item)
        kept = uniform((pairs,), self.generator) >= self.config.edge_dropout
        masked = uniform((items, 1), self.generator) < self.config.masking
        where, modalities = self.generator.device, len(self.channels.names)
        picks = torch.randint(modalities, (2,), generator=self.generator, device=where)
        device = self.channels.user.device
        return Draws(sent(kept, device), sent(masked, device), *sent(picks, device))

    def _contrast(
        self,
        of_users: torch.Tensor,
        of_items: torch.Tensor,
        users: torch.Tensor,
        positives: torch.Tensor,
        negatives: torch.Tensor,
        exchanged: torch.Tensor,
    ) -> torch.Tensor:
        """InfoNCE of users and positives against the batch's items and one hard negative each."""
        mine = of_items[positives]  # (B, width)
        channel = torch.arange(mine.shape[1], device=mine.device) // self.config.dim  # 0: of ids
        hard = torch.where(channel == 1 + exchanged, of_items[negatives], mine)
        u = F.normalize(self.read_user(of_users[users]))  # (B, k)
        i, h = F.normalize(self.read_item(mine)), F.normalize(self.read_item(hard))
        logits = torch.cat([u @ i.T, (u * h).sum(1, keepdim=True)], 1)  # (B, B + 1)
        target = torch.arange(len(users), device=users.device)
        return F.cross_entropy(logits / self.config.temperature, target)
