"""SLMRec: one graph channel per modality, fused, with contrast between fine and coarse spaces.

Tao, Liu, Xia, Wang, Yang, Huang and Chua, "Self-supervised Learning for Multimedia
Recommendation", IEEE Transactions on Multimedia 2022. Of the paper's three auxiliary tasks
this is "feature fine and coarse" (FAC), its best and the default of the public benchmarks.

Equations: those of FAC and of the recommendation loss, without their numbers.

Released code: MMRec's keeps a linear layer of an audio step that it does not have, scores with the
embeddings that the last training batch left, and passes scores through a sigmoid; here there is no
such layer, and scores are inner products of the embeddings as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from mmx.bounds import DEEPEST, WIDEST, check_settings, number, whole
from mmx.errors import OptionError
from mmx.recommend.blocks.batch import unique_padded
from mmx.recommend.blocks.channels import Channels
from mmx.recommend.blocks.initial import linear
from mmx.recommend.blocks.losses import in_batch
from mmx.recommend.blocks.naming import module_key
from mmx.recommend.protocol import FeatureTable, GradientModel, ModelConfig, World


@dataclass(frozen=True)
class Config(ModelConfig):
    """Hyper-parameters of SLMRec."""

    dim: int = 64  # length of every channel's embeddings and of the fused ones
    layers: int = 3  # steps of propagation
    temperature: float = 0.2  # τ of the recommendation loss
    ssl_weight: float = 0.01  # weight of the auxiliary task
    ssl_temperature: float = 0.2  # τ of the auxiliary task
    reg: float = 3e-3  # weight of ½‖·‖² of all parameters, as Adam's weight decay
    components: int = 1024  # principal components kept of longer features; 0 keeps them whole
    normalise: bool = True  # centre feature vectors and scale them to norm 1 first

    def __post_init__(self) -> None:
        check_settings(
            self,
            dim=whole(2, WIDEST),  # of which the last contrast has half
            layers=whole(0, DEEPEST),
            temperature=number(0, above=True),
            ssl_weight=number(0),
            ssl_temperature=number(0, above=True),
            reg=number(0),
            components=whole(0),
        )

    def end_to_end(self) -> Config:
        """All components: the axes of vectors that change would change too."""
        return replace(self, components=0)


class Model(GradientModel):
    """ŷ_ui = z_u · z_i, where z is a linear map of a node's channels side by side."""

    whole_batch = True  # the other rows of a batch are the contrast

    def __init__(self, config: Config, world: World, generator: torch.Generator) -> None:
        """Raises OptionError when the world has no features."""
        super().__init__()
        if not world.features:
            raise OptionError("slmrec needs item features; give --features")
        self.config, k = config, config.dim
        self.normalise = config.normalise
        self.weight_decay = config.reg
        self.channels = Channels(world, k, config.layers, generator, normalise=config.normalise,
                                 components=config.components)  # fmt: skip
        self.fuse_user = linear(self.channels.width, k, generator)
        self.fuse_item = linear(self.channels.width, k, generator)
        # one step of FAC per modality; the last of several contrasts in half the width
        steps = len(world.features)
        widths = [k] * (steps - 1) + [k // 2 if steps > 1 else k]
        self.coarse = nn.ModuleList(linear(k, width, generator) for width in widths)
        self.fine = nn.ModuleList(linear(k, width, generator) for width in widths)

    def loss(
        self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor
    ) -> torch.Tensor:
        """InfoNCE of (B,) users and items, the batch's other items being the negatives."""
        items, place, counts = unique_padded(positives, self.channels.graph.n_items)
        of_users, of_items = self.channels.rows(users, items)  # (B, width), (n, width)
        z_u, z_i = F.normalize(self.fuse_user(of_users)), F.normalize(self.fuse_item(of_items))
        main = in_batch(z_u, z_i, self.config.temperature, place, counts)
        return main + self.config.ssl_weight * self._fine_and_coarse(of_items, counts)

    def feature_tables(self, modality: str) -> list[FeatureTable]:
        """The modality's vectors."""
        return [cast(FeatureTable, self.channels.content[module_key(modality)])]

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Fused (users, k) and (items, k)."""
        of_users, of_items = self.channels.propagate(self.channels.starts())
        return self.fuse_user(of_users), self.fuse_item(of_items)

    def _fine_and_coarse(self, items: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """FAC on (n, width): from ids on, each coarser space meets the next modality.

        Item r counts for as many rows of the batch as ``counts[r]`` says.
        """
        x, *modalities = items.split(self.config.dim, 1)  # (n, k) each
        each = torch.arange(len(items), device=items.device)
        total = items.new_zeros(())
        for coarse, fine, modality in zip(self.coarse, self.fine, modalities, strict=True):
            x, y = coarse(x), fine(modality)
            total = total + in_batch(x, y, self.config.ssl_temperature, each, counts, counts)
        return total
