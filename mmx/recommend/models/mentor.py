"""MENTOR: a network for each modality over the user-item graph, aligned with ids in its moments.

Xu, Chen, Yang, Li, Wang and Ngai, "MENTOR: Multi-level Self-supervised Learning for Multimodal
Recommendation", AAAI 2025 (arXiv 2402.19407). The paper has two modalities; here there are as many
as the world has, and each pair of views is aligned: the one that is scored, the ids', and each
modality's.

Equations: those of the whole method but for the masking of features, without their numbers.

Released code: its contrast of two noised networks gives these weights of their own, which nothing
scores with; here they are the network that scores, with noise, as the paper has it. It contrasts
all users and all items in every step; here those of the batch, with all. Its masking of features is
computed without gradient, so that it changes nothing: it is left out. It scores with embeddings
that the last batch of training left behind; here scoring makes them. It loads a graph of users and
makes graphs without a tenth of the items, and reads neither. Its loss takes the logarithm to base
2, and so does this.

Items that are scored have no embedding of their own, so one that nobody took is scored as it is
seen and read. Defaults are those of the authors' code; its learning rate is a tenth of mmx's:
``--lr 0.0001``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import nn

from mmx.bounds import DEEPEST, WIDEST, check_settings, number, whole
from mmx.devices import sent
from mmx.errors import OptionError
from mmx.recommend.blocks.batch import unique_padded
from mmx.recommend.blocks.content_net import HIDDEN, ContentNet
from mmx.recommend.blocks.frozen_graph import frozen_graph, graph_shares
from mmx.recommend.blocks.graph import UserItemGraph
from mmx.recommend.blocks.initial import linear, own_generator, uniform, xavier_normal
from mmx.recommend.blocks.losses import against_all, bpr_loss
from mmx.recommend.blocks.modalities import parse_weights
from mmx.recommend.blocks.naming import module_key
from mmx.recommend.blocks.propagation import sum_of_layers
from mmx.recommend.protocol import GradientModel, ModelConfig, World

NOISE = 0.1  # length of what is added to a node's vector of a modality in each noised layer


@dataclass(frozen=True)
class Config(ModelConfig):
    """Hyper-parameters of MENTOR.

    The paper searches ``align_weight`` in 0.1, 0.2 and 0.3, ``noise_weight`` in 1e-4 and 1e-3,
    ``temperature`` in 0.2, 0.4 and 0.6.
    """

    dim: int = 64  # length of embeddings, of each modality
    layers: int = 2  # steps over the user-item graph
    item_layers: int = 1  # steps over the item graph
    neighbours: int = 10  # k of the item graph, an item itself among them
    weights: str = ""  # of modalities in it, image:0.3,text:0.7; empty: image 0.1, others 0.9
    reg: float = 1e-3  # λ: weight of the means of squares of users' own vectors
    align_weight: float = 0.1  # of the differences in mean and variance of the views
    noise_weight: float = 1e-4  # of the contrast of two noised networks
    temperature: float = 0.2  # its τ
    components: int = 1024  # principal components of longer features to project; 0: all numbers
    normalise: bool = True  # centre the feature vectors and scale them to norm 1 first

    def __post_init__(self) -> None:
        check_settings(
            self,
            dim=whole(1, WIDEST),
            layers=whole(0, DEEPEST),
            item_layers=whole(0, DEEPEST),
            neighbours=whole(1),
            reg=number(0),
            align_weight=number(0),
            noise_weight=number(0),
            temperature=number(0, above=True),
            components=whole(0),
        )
        parse_weights(self.weights)


class Model(GradientModel):
    """ŷ_ui = ū_u · (ȳ_i + h_i), h = S^l ȳ: DRAGON without its graph of users.

    x_m are users' own vectors and items' contents of a modality, at norm 1, y_m their layers over
    the user-item graph, added up. ȳ has the y_m of all modalities side by side, ū the same times
    w_um, users' weights of modalities. S is the item graph.
    """

    whole_batch = True  # the contrast is drawn for the whole batch
    generator: torch.Generator  # of its steps
    item_tables = ("ids",)  # which are not in the scores

    def __init__(self, config: Config, world: World, generator: torch.Generator) -> None:
        """Raises OptionError when the world has no features."""
        super().__init__()
        if not world.features:
            raise OptionError("mentor needs item features; give --features")
        self.config, k = config, config.dim
        self.graph = UserItemGraph(world.train)
        features = {n: f.normalised() if config.normalise else f for n, f in world.features.items()}
        shares = graph_shares(config.weights, features)
        self.alike = frozen_graph(features, config.neighbours, shares)  # S
        self.content, self.user = nn.ModuleDict(), nn.ParameterDict()
        for name, found in sorted(features.items()):
            shortened = found.principal(config.components)
            self.content[module_key(name)] = ContentNet(shortened, k, generator)
            self.user[module_key(name)] = xavier_normal(world.n_users, k, generator)
        drawn = xavier_normal(world.n_users, len(features), generator).data
        self.weight = nn.Parameter(drawn.softmax(1))  # w (users, M)
        self.ids = xavier_normal(world.n_items, k, generator)  # items' own, for the alignment
        self.own = xavier_normal(world.n_users, k, generator)  # users' beside them
        inner, outer = linear(k, HIDDEN * k, generator), linear(HIDDEN * k, k, generator)
        self.of_ids = nn.Sequential(inner, nn.LeakyReLU(), outer)
        self.generator = own_generator(generator)

    def loss(
        self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor
    ) -> torch.Tensor:
        """BPR over (B,) triples to base 2, means of squares, the alignment and the contrast."""
        config, x = self.config, self._start()  # (nodes, M k)
        y = sum_of_layers(self.graph, x, config.layers)
        of_users, of_items = self._joined(y)
        u = F.embedding(users, of_users)  # (B, M k)
        i, j = F.embedding(torch.stack([positives, negatives]), of_items)  # (B, M k) each
        loss = bpr_loss((u * i).sum(1), (u * j).sum(1)) / math.log(2)
        squares = self.weight.square().mean()
        for own in self.user.values():
            squares = squares + F.embedding(users, own).square().mean()
        loss = loss + config.reg * squares
        if config.align_weight:
            loss = loss + config.align_weight * self._apart(y, torch.cat([of_users, of_items]))
        if config.noise_weight:
            loss = loss + config.noise_weight * self._contrast(x, users, positives)
        return loss

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(users, M k) and (items, M k); nothing is drawn."""
        return self._joined(sum_of_layers(self.graph, self._start(), self.config.layers))

    def draw(self) -> torch.Tensor:
        """Noise of a step → (2, layers, nodes, M, k), from the model's own generator."""
        shape = (2, self.config.layers, self.graph.shape[0], len(self.user), self.config.dim)
        return uniform(shape, self.generator)

    def _start(self) -> torch.Tensor:
        """x_m of all modalities side by side → (nodes, M k)."""
        pairs = zip(self.user.values(), self.content.values(), strict=True)
        return torch.cat([F.normalize(torch.cat([own, content()])) for own, content in pairs], 1)

    def _joined(self, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """ū (users, M k) and ȳ + h (items, M k) of (nodes, M k)."""
        users, items = self.graph.split(y)
        weights = self.weight.repeat_interleave(self.config.dim, 1)  # (users, M k)
        return users * weights, self._with_similar(items)

    def _with_similar(self, items: torch.Tensor) -> torch.Tensor:
        """y + S^l y of (items, d) → (items, d)."""
        similar = items
        for _ in range(self.config.item_layers):
            similar = self.alike(similar)
        return items + similar

    def _apart(self, y: torch.Tensor, scored: torch.Tensor) -> torch.Tensor:
        """Σ over pairs of views of |Δ variance| + |Δ mean| of all their numbers.

        The ids and each modality are views of M times the same columns, without weights.
        """
        contents = self.of_ids(self.ids).float()
        ids = F.normalize(torch.cat([self.own, contents]))  # (nodes, k)
        ids = sum_of_layers(self.graph, ids, self.config.layers)
        users, items = self.graph.split(torch.cat([ids, y], 1))
        alone = torch.cat([users, self._with_similar(items)]).split(self.config.dim, 1)
        found = [_moments(scored, 1), *(_moments(view, len(self.user)) for view in alone)]
        return torch.stack([(a - b).abs().sum() for a, b in combinations(found, 2)]).sum()

    def _contrast(
        self, x: torch.Tensor, users: torch.Tensor, positives: torch.Tensor
    ) -> torch.Tensor:
        """InfoNCE of the batch's users and positives in one noised network, all in another."""
        one, other = (self._joined(self._noised(x, sent(noise, x.device))) for noise in self.draw())
        total = x.new_zeros(())
        for rows, left, right in zip((users, positives), one, other, strict=True):
            found, _, counts = unique_padded(rows, len(left))
            mine, every = F.normalize(F.embedding(found, left)), F.normalize(right)
            weights = counts / len(rows)
            total = total + against_all(mine, every, self.config.temperature, found, weights)
        return total

    def _noised(self, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """The layers of (nodes, M k), each moved as (layers, nodes, M, k) numbers say, added up."""
        total = x
        for drawn in noise:
            x = self.graph(x)
            x = x + x.sign() * NOISE * F.normalize(drawn, dim=2).flatten(1)
            total = total + x
        return total


def _moments(view: torch.Tensor, times: int) -> torch.Tensor:
    """Variance and mean of all numbers of (n, d), each of which is there so many times → (2,)."""
    count = times * view.numel()
    variance = view.var(correction=0) * count / max(count - 1, 1)
    return torch.stack([variance, view.mean()])
