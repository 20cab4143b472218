"""VBPR: MF-BPR whose items also have content factors, projected from their features.

He and McAuley, "VBPR: Visual Bayesian Personalized Ranking from Implicit Feedback", AAAI
2016 (arXiv 1510.01784). The paper has one visual feature f_i; here every modality m has its
own embedding matrix E_m and their projections add up, which is the paper's model on the
concatenated features. An item without a vector of some modality takes that modality's
learned default vector, in training and in scoring.

Equations: 4, and the learning of section 3.3. α and β_u cancel in every ranking of one user's
items and are left out.

Released code: MMRec's has neither β_i nor β', adds an offset to the projection, and its L2 term
is norms, not squared, those of projected features among them; here it is the paper's.

An item that nobody took in training occurs there only as a negative, so that its γ_i and β_i
learn only that it is not wanted. ``cold=trained`` scores it with them, as the paper does;
``cold=prior`` sets both to 0, the mean of their prior, and scores by the content alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from mmx.bounds import WIDEST, check_settings, number, whole
from mmx.errors import OptionError, one_of
from mmx.recommend.blocks.batch import unique_padded
from mmx.recommend.blocks.content import Content
from mmx.recommend.blocks.initial import xavier
from mmx.recommend.blocks.losses import bpr_loss, l2_of_batch
from mmx.recommend.blocks.naming import module_key
from mmx.recommend.protocol import FeatureTable, GradientModel, ModelConfig, World


@dataclass(frozen=True)
class Config(ModelConfig):
    """Hyper-parameters of VBPR."""

    dim: int = 64  # length of the latent factors γ
    content_dim: int = 64  # length of the content factors θ
    reg: float = 0.03  # λ_Θ: weight of ½‖·‖² of the embeddings and biases a triple touches
    content_reg: float = 3e-3  # λ_E: weight of ½‖·‖² of E and β'
    normalise: bool = True  # centre feature vectors and scale them to norm 1 first
    cold: str = "trained"  # γ_i and β_i of items nobody took: as trained, or prior for 0

    def __post_init__(self) -> None:
        check_settings(
            self,
            dim=whole(1, WIDEST),
            content_dim=whole(1, WIDEST),
            reg=number(0),
            content_reg=number(0),
        )
        one_of("--set cold", self.cold, ("trained", "prior"))


class Model(GradientModel):
    """x̂_ui = β_i + γ_u·γ_i + Σ_m [θ_u·(E_m f_im) + β'_m·f_im]   (equation 4)."""

    item_tables = ("item", "bias")
    taken: torch.Tensor

    def __init__(self, config: Config, world: World, generator: torch.Generator) -> None:
        """Raises OptionError when the world has no features."""
        super().__init__()
        if not world.features:
            raise OptionError("vbpr needs item features; give --features, or choose --model bpr")
        self.config = config
        self.normalise = config.normalise
        users, items = world.n_users, world.n_items
        self.user = xavier(users, config.dim, generator)  # γ_u
        self.item = xavier(items, config.dim, generator)  # γ_i
        self.taste = xavier(users, config.content_dim, generator)  # θ_u
        self.bias = nn.Parameter(torch.zeros(items))  # β_i
        taken = torch.from_numpy(world.train.item_counts > 0)  # (items,)
        self.register_buffer("taken", taken, persistent=False)
        self.content, self.project = nn.ModuleDict(), nn.ParameterDict()
        self.content_bias = nn.ParameterDict()
        for modality, features in sorted(world.features.items()):
            name = module_key(modality)
            self.content[name] = Content(features, normalise=config.normalise)
            self.project[name] = xavier(config.content_dim, features.dimension, generator)  # E
            self.content_bias[name] = nn.Parameter(torch.zeros(features.dimension))  # β'

    def loss(
        self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor
    ) -> torch.Tensor:
        """BPR-Opt over (B,) triples (section 3.3); each item's content is projected once."""
        batch = len(users)
        both = torch.cat([positives, negatives])  # (2B,)
        items, place, _ = unique_padded(both, len(self.item))  # (n,), (2B,)
        content, content_bias = self._content(items)  # (n, c), (n,)
        u, t = F.embedding(users, self.user), F.embedding(users, self.taste)  # (B, k), (B, c)
        own = F.embedding(items, self.item)  # (n, k)
        bias = self.bias[items]  # (n,)
        shared = bias + content_bias
        scores, touched = [], [u, t]
        for p in (place[:batch], place[batch:]):  # positives, negatives
            mine = F.embedding(p, own)  # (B, k)
            scores.append((u * mine).sum(1) + (t * F.embedding(p, content)).sum(1) + shared[p])
            touched += [mine, bias[p]]
        loss = bpr_loss(*scores) + self.config.reg * l2_of_batch(*touched)
        if self.config.content_reg:
            weights = [*self.project.values(), *self.content_bias.values()]
            square = torch.stack([w.square().sum() for w in weights]).sum()
            loss = loss + self.config.content_reg * square / 2
        return loss

    def feature_tables(self, modality: str) -> list[FeatureTable]:
        """The modality's vectors."""
        return [cast(FeatureTable, self.content[module_key(modality)])]

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(users, k + c + 1) and (items, k + c + 1): [γ_u, θ_u, 1] and [γ_i, E f_i, bias]."""
        ones = torch.ones_like(self.user[:, :1])
        item: torch.Tensor = self.item
        bias: torch.Tensor = self.bias
        if self.config.cold == "prior":
            item, bias = item * self.taken[:, None], bias * self.taken
        own = item.shape[1]
        items = item.new_empty(len(item), own + self.taste.shape[1] + 1)
        items[:, :own] = item
        self._content(out=items[:, own:])
        items[:, -1] += bias
        return torch.cat([self.user, self.taste, ones], 1), items

    def _content(
        self, items: torch.Tensor | None = None, out: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Σ_m E_m f_im (n, c) and Σ_m β'_m·f_im (n,) of (n,) items, or of all, in ``out``."""
        first, *others = self.content
        both = self._projected(first, items, out)
        for name in others:
            both += self._projected(name, items)
        return both[:, :-1], both[:, -1]

    def _projected(
        self, name: str, items: torch.Tensor | None, out: torch.Tensor | None = None
    ) -> torch.Tensor:
        """E_m and β'_m in one product with f_im: (n, c + 1)."""
        weight = torch.cat([self.project[name], self.content_bias[name][None]])
        found: torch.Tensor = self.content[name](weight, items, out)
        return found
