"""Graph channels: ids and every modality propagated side by side over the user-item graph.

The backbone that SLMRec and MMGCL share. All channels have the users' embeddings in common;
the items of a modality's channel start from W_m f_im + b_m, those of the id channel from an
embedding of their own. Propagation is LightGCN's.

It is linear, so over a graph that does not change the vectors of a modality are propagated once
(``Spread``) and projected afterwards, for the nodes of a batch only.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from mmx.recommend.blocks.content import Content, product
from mmx.recommend.blocks.graph import UserItemGraph
from mmx.recommend.blocks.initial import bias, xavier
from mmx.recommend.blocks.naming import module_key
from mmx.recommend.blocks.propagation import mean_by_side, mean_of_layers
from mmx.recommend.protocol import World

LARGEST = 1 << 30  # bytes of a modality's spread vectors; above, they are propagated in each step
COLUMNS = 64  # of them that are propagated at once


class Spread:
    """A modality's frozen vectors as every node has them after propagation: P F."""

    def __init__(
        self, content: Content, graph: UserItemGraph, layers: int, dtype: torch.dtype
    ) -> None:
        self.content, self.source = content, content.matrix
        nodes = (graph.n_users + graph.n_items, content.dimension)

        def of_all(items: torch.Tensor) -> torch.Tensor:  # (items, c) → (nodes, c)
            users = items.new_zeros(graph.n_users, items.shape[1])
            return mean_of_layers(graph, torch.cat([users, items]), layers)

        self.matrix = torch.empty(nodes, dtype=dtype, device=content.matrix.device)  # P F
        for at in range(0, nodes[1], COLUMNS):
            self.matrix[:, at : at + COLUMNS] = of_all(self.source[:, at : at + COLUMNS])
        self.absent = of_all(content.absent)  # (nodes, 1): how much is of items without a vector
        self.items = of_all(torch.ones_like(content.absent))  # (nodes, 1): of all items

    def __call__(
        self, weight: torch.Tensor, offset: torch.Tensor, nodes: torch.Tensor
    ) -> torch.Tensor:
        """P (F Wᵀ + 1 bᵀ) of (n,) nodes, for W (k, d) and b (k,) → (n, k)."""
        projected = product(self.matrix, weight, nodes) + self.items[nodes] * offset
        default = (weight @ self.content.default).float()
        return torch.addcmul(projected, self.absent[nodes], default[None, :])


class Channels(nn.Module):
    """The id channel, then one channel per modality in the order of their names."""

    def __init__(
        self,
        world: World,
        dim: int,
        layers: int,
        generator: torch.Generator,
        *,
        normalise: bool,
        components: int,
    ) -> None:
        """``dim`` is the width of each channel, ``layers`` the steps of propagation.

        Longer features are turned to their principal axes, of which ``components`` are kept.
        """
        super().__init__()
        self.dim, self.layers = dim, layers
        self.graph = UserItemGraph(world.train)
        self.user = xavier(world.n_users, dim, generator)
        self.item = xavier(world.n_items, dim, generator)
        self.names: list[str] = []  # keys of the modules below
        self.content = nn.ModuleDict()
        self.project, self.offset = nn.ParameterDict(), nn.ParameterDict()
        for modality, given in sorted(world.features.items()):
            name = module_key(modality)
            self.names.append(name)
            features = (given.normalised() if normalise else given).principal(components)
            self.content[name] = Content(features, normalise=False)
            self.project[name] = xavier(dim, features.dimension, generator)  # W_m
            self.offset[name] = bias(features.dimension, dim, generator)  # b_m
        self._spread: dict[str, Spread] = {}

    @property
    def width(self) -> int:
        """Of all channels side by side."""
        return self.dim * (1 + len(self.names))

    def starts(self) -> list[torch.Tensor]:
        """Layer-0 item embeddings (items, dim) of each channel."""
        projected = [self.content[m](self.project[m]) + self.offset[m] for m in self.names]
        return [self.item, *projected]

    def propagate(
        self, starts: list[torch.Tensor], values: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """All channels in one product → (users, width), (items, width).

        ``values`` are other values of the graph's entries, for augmented views.
        """
        users = self.user.repeat(1, len(starts))
        nodes = torch.cat([users, torch.cat(starts, 1)])
        return self.graph.split(mean_of_layers(self.graph, nodes, self.layers, values))

    def rows(self, users: torch.Tensor, items: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What ``propagate`` returns for (n,) users and (m,) items → (n, width), (m, width)."""
        spread = self._spreads()
        if spread is None:
            of_users, of_items = self.propagate(self.starts())
            return F.embedding(users, of_users), F.embedding(items, of_items)
        nodes = torch.cat([users, items + self.graph.n_users])
        start = torch.cat([x.to(spread[0].matrix.dtype) for x in (self.user, self.item)])
        parts = mean_by_side(self.graph, start, self.layers)
        own, other = (F.embedding(nodes, part) for part in parts)  # (n + m, dim)
        of_user = nodes[:, None] < self.graph.n_users
        from_users = torch.where(of_user, own, other)  # the part that all channels share
        pairs = zip(self.names, spread, strict=True)
        modalities = [s(self.project[m], self.offset[m], nodes) + from_users for m, s in pairs]
        both = torch.cat([own + other, *modalities], 1)  # (n + m, width)
        return both[: len(users)], both[len(users) :]

    def _spreads(self) -> list[Spread] | None:
        """The modalities' spread vectors; None where they change in training or are too large."""
        contents = [cast(Content, self.content[m]) for m in self.names]
        size = 4 * self.graph.shape[0] * max(c.dimension for c in contents)
        if size > LARGEST or any(c.matrix.requires_grad for c in contents):
            return None
        device = self.user.device
        half = torch.is_autocast_enabled(device.type)
        dtype = torch.bfloat16 if half else torch.float32
        for name, content in zip(self.names, contents, strict=True):
            known = self._spread.get(name)
            if known is None or known.source is not content.matrix or known.matrix.dtype != dtype:
                with torch.no_grad():
                    self._spread[name] = Spread(content, self.graph, self.layers, dtype)
        return [self._spread[name] for name in self.names]
