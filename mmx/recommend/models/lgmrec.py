"""LGMRec: local embeddings of ids and contents, and global ones over learned hyperedges.

Guo, Li, Li, Wang, Shi and Ruan, "LGMRec: Local and Global Graph Learning for Multimodal
Recommendation", AAAI 2024 (arXiv 2312.16400). The paper has two modalities; here there are as many
as the world has, each pair of them is contrasted, and one alone has no contrast.

Equations: those of the whole method, without their numbers.

Released code: draws the Gumbel noise of the hyperedges in scoring as well, so that its scores
differ from call to call; here scoring draws nothing and takes softmax(logits). With one modality it
ends in an error.

In training, how much a node belongs to a hyperedge is a Gumbel-softmax sample, then thinned by
dropout; softmax(logits) is the samples' mean in the limit of τ = 0 (at τ = 0.2 within 0.03 of it,
for logits from N(0, 1)). Sums over a hyperedge's items are divided by the number of items, which no
later step sees, as rows are brought to norm 1: a deep model does not overflow. The contrast with
all users and all items is computed in blocks. Longer vectors are rotated to their principal axes
about their mean first (``components=0``: as they are).

Defaults are the paper's for Baby; Sports has keep 0.4 and α 0.6, Clothing two layers of 64
hyperedges, keep 0.2 and α 0.2. ``dropout`` is 1 - keep.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from mmx.bounds import DEEPEST, WIDEST, check_settings, number, whole
from mmx.devices import sent
from mmx.errors import OptionError
from mmx.recommend.blocks.batch import unique_padded
from mmx.recommend.blocks.content import Content
from mmx.recommend.blocks.graph import Sparse, UserItemGraph
from mmx.recommend.blocks.initial import own_generator, uniform, xavier
from mmx.recommend.blocks.losses import against_all, bpr_loss
from mmx.recommend.blocks.naming import module_key
from mmx.recommend.blocks.propagation import mean_of_layers
from mmx.recommend.features import Features
from mmx.recommend.protocol import FeatureTable, GradientModel, ModelConfig, World


@dataclass(frozen=True)
class Config(ModelConfig):
    """Hyper-parameters of LGMRec."""

    dim: int = 64  # length of all embeddings
    layers: int = 2  # L, steps of ids over the user-item graph
    modal_layers: int = 2  # steps of contents over it, of which the last layer counts
    hyper_layers: int = 1  # steps over the hyperedges
    hyperedges: int = 4  # of each modality
    dropout: float = 0.5  # share of the memberships left out of a step
    global_weight: float = 0.3  # α, of the global embeddings, which have norm 1
    temperature: float = 0.2  # τ, of the Gumbel-softmax and of the contrast
    ssl_weight: float = 1e-4  # weight of the contrast, which is a sum over the batch
    reg: float = 1e-6  # weight of the norms of a batch's final embeddings
    components: int = 1024  # principal components kept of longer features; 0 keeps them whole
    normalise: bool = True  # centre the feature vectors and scale them to norm 1 first

    def __post_init__(self) -> None:
        check_settings(
            self,
            dim=whole(1, WIDEST),
            layers=whole(0, DEEPEST),
            modal_layers=whole(0, DEEPEST),
            hyper_layers=whole(1, DEEPEST),
            hyperedges=whole(1, WIDEST),
            dropout=number(0, 1, below=True),
            global_weight=number(0),
            temperature=number(0, above=True),
            ssl_weight=number(0),
            reg=number(0),
            components=whole(0),
        )

    def end_to_end(self) -> Config:
        """All components: the axes of vectors that change would change too."""
        return replace(self, components=0)


TINIEST = 1e-12  # of a norm that is divided by, as F.normalize's


@dataclass(frozen=True)
class Draw:
    """What is random in one step, of one modality."""

    noise: torch.Tensor  # (nodes, hyperedges) Gumbel(0, 1)
    kept: torch.Tensor  # (nodes, hyperedges) bool: memberships that dropout keeps


@dataclass(frozen=True)
class Global:
    """Embeddings of one modality over hyperedges, which span a space of few dimensions."""

    embeddings: torch.Tensor  # (nodes, k): members @ edges
    members: torch.Tensor  # (nodes, hyperedges)
    edges: torch.Tensor  # (hyperedges, k)

    def rows(self, rows: torch.Tensor) -> Global:
        """Those of (n,) nodes."""
        embeddings, members = F.embedding(rows, self.embeddings), F.embedding(rows, self.members)
        return Global(embeddings, members, self.edges)

    def unit_members(self) -> torch.Tensor:
        """(nodes, hyperedges) that times the edges are the embeddings at norm 1."""
        norms = torch.linalg.vector_norm(self.embeddings, dim=1, keepdim=True)
        return self.members / norms.clamp(min=TINIEST)


@dataclass(frozen=True)
class NodeViews:
    """What the final embeddings are made of."""

    ids: torch.Tensor  # (nodes, k) collaborative
    modal: list[torch.Tensor]  # (nodes, k) of each modality
    hyper: list[Global]  # of each modality

    def rows(self, rows: torch.Tensor) -> NodeViews:
        """Those of (n,) nodes."""
        modal, hyper = (
            [F.embedding(rows, x) for x in self.modal],
            [x.rows(rows) for x in self.hyper],
        )
        return NodeViews(F.embedding(rows, self.ids), modal, hyper)


class HyperedgeContent(nn.Module):
    """One modality's frozen vectors, and what they are projected with."""

    def __init__(self, given: Features, config: Config, generator: torch.Generator) -> None:
        super().__init__()
        known = given.normalised() if config.normalise else given
        self.content = Content(known.principal(config.components), normalise=False)
        dimension = self.content.dimension
        self.project = xavier(config.dim, dimension, generator)  # W_m
        self.edges = xavier(config.hyperedges, dimension, generator)  # the hyperedges

    def forward(self) -> torch.Tensor:
        """All items' embeddings and logits side by side → (items, k + hyperedges)."""
        return self.content(torch.cat([self.project, self.edges]))


class Model(GradientModel):
    """ŷ_ui = e_u · e_i with e = e_id + Σ_m norm(e_m) + α norm(Σ_m g_m); norm is of a row."""

    whole_batch = True  # the contrast is a sum over the batch
    generator: torch.Generator  # of its steps
    per_item: torch.Tensor

    def __init__(self, config: Config, world: World, generator: torch.Generator) -> None:
        """Raises OptionError when the world has no features."""
        super().__init__()
        if not world.features:
            raise OptionError(
                "lgmrec needs item features; give --features, or choose --model lightgcn"
            )
        self.config, self.normalise = config, config.normalise
        self.graph = UserItemGraph(world.train)
        pairs, shape = self.graph.users, (world.n_users, world.n_items)
        self.history = Sparse(pairs, self.graph.items, torch.ones(len(pairs)), shape)  # R
        taken = torch.bincount(pairs, minlength=world.n_users)[:, None]  # (users, 1)
        self.register_buffer("per_item", 1 / taken.clamp(min=1).float(), persistent=False)
        self.nodes = nn.Parameter(torch.empty(self.graph.shape[0], config.dim))
        for part in self.graph.split(self.nodes.data):  # of users, of items
            nn.init.xavier_uniform_(part, generator=generator)
        self.modalities = nn.ModuleDict(
            {
                module_key(name): HyperedgeContent(features, config, generator)
                for name, features in sorted(world.features.items())
            }
        )
        self.generator = own_generator(generator)

    def loss(
        self, users: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor
    ) -> torch.Tensor:
        """BPR over (B,) triples, the contrast of the global embeddings, and norms."""
        every = self._parts(self.draw())
        triples = [users, *(items + self.graph.n_users for items in (positives, negatives))]
        u, i, j = self._final(every.rows(torch.cat(triples))).split(len(users))  # (B, k) each
        loss = bpr_loss((u * i).sum(1), (u * j).sum(1))
        norms = torch.stack([torch.linalg.vector_norm(part) for part in (u, i, j)]).sum()
        loss = loss + self.config.reg * norms / len(users)
        if not self.config.ssl_weight:
            return loss
        return loss + self.config.ssl_weight * self._contrast(every.hyper, users, positives)

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Final (users, k) and (items, k); nothing is drawn."""
        return self.graph.split(self._final(self._parts()))

    def feature_tables(self, modality: str) -> list[FeatureTable]:
        """The modality's vectors."""
        return [cast(FeatureTable, self.modalities[module_key(modality)].content)]

    def draw(self) -> list[Draw]:
        """The random choices of one step for each modality, from the model's own generator."""
        shape, device = (self.graph.shape[0], self.config.hyperedges), self.nodes.device
        found = []
        for _ in self.modalities:
            times = torch.empty(shape, device=self.generator.device)
            noise = -times.exponential_(generator=self.generator).log()
            kept = uniform(shape, self.generator) >= self.config.dropout
            found.append(Draw(sent(noise, device), sent(kept, device)))
        return found

    def _parts(self, draws: list[Draw] | None = None) -> NodeViews:
        """All nodes, with the memberships of a draw, or those of scoring."""
        k, ids = self.config.dim, mean_of_layers(self.graph, self.nodes, self.config.layers)
        items = torch.cat([modality() for modality in self.modalities.values()], 1)
        both = torch.cat([self.history(items), items])  # (nodes, M (k + hyperedges))
        modal, hyper = [], []
        for which, part in enumerate(both.split(k + self.config.hyperedges, 1)):
            embeddings, logits = part[:, :k], part[:, k:]
            modal.append(embeddings)
            members = self._memberships(logits, draws[which] if draws else None)
            hyper.append(self._over_hyperedges(members, self.graph.split(ids)[1]))
        return NodeViews(ids, self._over_graph(torch.cat(modal, 1)), hyper)

    def _over_graph(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Contents (nodes, M k), those of users as sums, after all steps → (nodes, k) each."""
        sums, items = self.graph.split(x)
        x = torch.cat([sums * self.per_item, items])  # users start at the mean of their items
        for _ in range(self.config.modal_layers):
            x = self.graph(x)
        return list(x.split(self.config.dim, 1))

    def _memberships(self, logits: torch.Tensor, draw: Draw | None) -> torch.Tensor:
        """How much each node belongs to each hyperedge: (nodes, hyperedges), rows sum to 1."""
        if draw is None:
            return logits.softmax(1)
        sample = ((logits + draw.noise) / self.config.temperature).softmax(1)
        return sample * draw.kept / (1 - self.config.dropout)

    def _over_hyperedges(self, members: torch.Tensor, items: torch.Tensor) -> Global:
        """From nodes' memberships (nodes, hyperedges) and items' embeddings (items, k)."""
        of_items = self.graph.split(members)[1]
        for _ in range(self.config.hyper_layers):
            edges = of_items.T @ items / len(items)  # (hyperedges, k)
            items = of_items @ edges
        return Global((members @ edges).float(), members, edges)

    def _final(self, parts: NodeViews) -> torch.Tensor:
        """(n, k) of the parts' nodes."""
        local = parts.ids + torch.stack([F.normalize(x) for x in parts.modal]).sum(0)
        over = torch.stack([x.embeddings for x in parts.hyper]).sum(0)
        return local + self.config.global_weight * F.normalize(over)

    def _contrast(
        self, hyper: list[Global], users: torch.Tensor, positives: torch.Tensor
    ) -> torch.Tensor:
        """Σ over the batch of InfoNCE of a node in one modality against all nodes in the next.

        The cosine of aE and bF is a(EFᵀ)bᵀ: of as many numbers as there are hyperedges, not of k.
        """
        total = self.nodes.new_zeros(())
        for one, other in combinations(hyper, 2):
            across = one.edges @ other.edges.T  # (hyperedges, hyperedges)
            both = (self.graph.split(x.unit_members()) for x in (one, other))
            for rows, a, b in zip((users, positives), *both, strict=True):
                found, _, counts = unique_padded(rows, len(a))
                mine = F.embedding(found, a) @ across.to(a.dtype)  # (n, hyperedges)
                total = total + against_all(mine, b, self.config.temperature, found, counts)
        return total
