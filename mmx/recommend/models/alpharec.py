"""AlphaRec: users and items are language vectors through one network; nobody has an embedding.

Sheng, Zhang, Zhang, Chen, Wang and Chua, "Language Representations Can be What Recommenders Need:
Findings and Potentials", ICLR 2025 (arXiv 2407.05441). A user is the mean of the vectors of their
items. The paper has the vectors of one language model; here all modalities of the world are side
by side, and an item without one of them has its learned default. The same network is for both
sides, so the parameters do not depend on how many users and items there are: they score another
catalogue as they are, and an item that nobody took, or that is not in the table, by its vector
alone, norm(MLP(z)).

A user given as a list of items is estimated as in the other models (``mmx.recommend.inductive``)
and not by the network. That needs W₁ z_i of the items, 512 numbers each, or their vectors, and a
run has neither. Nor was it better where it was tried: of 120 users of the sample left out of
training, with half of their items given, Recall@20 was 0.327 by the estimate and 0.289 by the
network after 150 epochs, of 120 others 0.292 and 0.275 after 60.

Equations: those of the whole method, without their numbers.

Released code: takes vectors as they are; here they are centred and scaled to norm 1 first
(``normalise=false`` is the paper's), every training pair is in an epoch once (theirs draws a user
and then one of their items), of a pair's negatives the first is the training loop's, and the
hidden layer has 512 numbers whatever the vectors are (theirs has 6,144 to 1,536 for vectors of 768
to 3,072, so that all encoders have as many parameters).

``hidden=0`` is the paper's linear mapping. The program's learning rate is 0.0005; its temperature
0.15 for books and films, 0.2 for games.
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
from mmx.recommend.blocks.content import Content
from mmx.recommend.blocks.graph import Sparse, UserItemGraph
from mmx.recommend.blocks.initial import bias, linear, own_generator, xavier
from mmx.recommend.blocks.naming import module_key
from mmx.recommend.blocks.propagation import mean_of_layers
from mmx.recommend.blocks.sampled_softmax import sampled_softmax
from mmx.recommend.protocol import FeatureTable, GradientModel, ModelConfig, World
from mmx.recommend.sampling import NegativeSampler


@dataclass(frozen=True)
class Config(ModelConfig):
    """Hyper-parameters of AlphaRec."""

    dim: int = 64  # length of embeddings
    hidden: int = 512  # numbers in the network's hidden layer; 0: one matrix and no network
    layers: int = 2  # K, steps over the user-item graph
    negatives: int = 256  # items that each training pair is compared with
    temperature: float = 0.15  # τ
    normalise: bool = True  # centre the feature vectors and scale them to norm 1 first

    def __post_init__(self) -> None:
        check_settings(
            self,
            dim=whole(1, WIDEST),
            hidden=whole(0, WIDEST),
            layers=whole(0, DEEPEST),
            negatives=whole(1, WIDEST),
            temperature=number(0, above=True),
        )


class Model(GradientModel):
    """ŷ_ui = cos(e_u, e_i), e the mean of LightGCN's layers over e^(0) = W₂ leaky(W₁ z + b₁) + b₂.

    z_i are an item's vectors, z_u is the mean of the user's items' z_i.
    """

    whole_batch = True  # the model's generator draws for all rows
    reads_batches = True  # for whose users it draws, on the CPU
    generator: torch.Generator

    def __init__(self, config: Config, world: World, generator: torch.Generator) -> None:
        """Raises OptionError when the world has no features."""
        super().__init__()
        if not world.features:
            raise OptionError(
                "alpharec needs item features; give --features, or choose --model lightgcn"
            )
        self.config = config
        self.normalise = config.normalise
        self.graph = UserItemGraph(world.train)
        users, items = self.graph.users, self.graph.items
        share = 1 / torch.bincount(users, minlength=world.n_users)[users]  # (pairs,) 1/|N_u|
        self.mean = Sparse(users, items, share, (world.n_users, world.n_items))
        wide = config.hidden or config.dim
        self.content, self.project = nn.ModuleDict(), nn.ParameterDict()
        for modality, found in sorted(world.features.items()):
            name = module_key(modality)
            self.content[name] = Content(found, normalise=config.normalise)
            self.project[name] = xavier(wide, found.dimension, generator)  # its columns of W₁
        if config.hidden:
            dimension = sum(found.dimension for found in world.features.values())
            self.offset = bias(dimension, wide, generator)  # b₁
            self.read = linear(wide, config.dim, generator)  # W₂, b₂
        self.sampler = NegativeSampler(world.train)
        self.generator = own_generator(generator)

    def loss(
        self,
        users: torch.Tensor,
        positives: torch.Tensor,
        negatives: torch.Tensor,
        *on_cpu: torch.Tensor,
    ) -> torch.Tensor:
        """InfoNCE of (B,) pairs, each against its negatives   (the paper's loss, cosine / τ)."""
        of_users, of_items = self.factors()
        more = sent(self.draw(on_cpu[0] if on_cpu else users.cpu()), users.device)
        columns = torch.cat([positives[:, None], negatives[:, None], more], 1)
        left = F.embedding(users, of_users)  # (B, k)
        return sampled_softmax(left, of_items, columns, self.config.temperature)

    def draw_on(self, device: torch.device) -> None:
        """Its steps draw on the CPU.

        Whether a negative has to be drawn again is seen from numbers that a GPU would have to be
        waited for.
        """

    def feature_tables(self, modality: str) -> list[FeatureTable]:
        """The modality's vectors."""
        return [cast(FeatureTable, self.content[module_key(modality)])]

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(users, k) and (items, k), of norm 1; nothing is drawn."""
        final = mean_of_layers(self.graph, self._first(), self.config.layers)
        users, items = self.graph.split(F.normalize(final))
        return users, items

    def draw(self, users: torch.Tensor) -> torch.Tensor:
        """Further negatives of (B,) users → (B, negatives - 1), from the model's generator.

        All on the CPU.
        """
        count = self.config.negatives - 1
        each = users.repeat_interleave(count)
        return self.sampler.draw(each, self.generator).view(len(users), count)

    def _first(self) -> torch.Tensor:
        """e^(0) → (users + items, k).

        W₁ of a mean is the mean of W₁ z_i: items are projected, and users add them up.
        """
        parts = [content(self.project[name]) for name, content in self.content.items()]
        projected = torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]  # (items, h)
        x = torch.cat([self.mean(projected), projected])  # (users + items, h)
        if not self.config.hidden:
            return x
        return self.read(F.leaky_relu(x + self.offset)).float()
