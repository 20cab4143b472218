"""Graph channels: ids and every modality propagated side by side over the user-item graph.

The backbone that SLMRec and MMGCL share. All channels have the users' embeddings in common;
the items of a modality's channel start from W_m f_im + b_m, those of the id channel from an
embedding of their own. Propagation is LightGCN's.
"""

from __future__ import annotations

import torch
from torch import nn

from mmx.recommend.content import Content
from mmx.recommend.graph import UserItemGraph, mean_of_layers
from mmx.recommend.initial import xavier
from mmx.recommend.world import World


class Channels(nn.Module):
    """The id channel, then one channel per modality in the order of their names."""

    def __init__(
        self, world: World, dim: int, layers: int, generator: torch.Generator, *, normalise: bool
    ) -> None:
        """``dim`` is the width of each channel, ``layers`` the steps of propagation."""
        super().__init__()
        self.dim, self.layers = dim, layers
        self.graph = UserItemGraph(world.train)
        self.user = xavier(world.n_users, dim, generator)
        self.item = xavier(world.n_items, dim, generator)
        self.names = sorted(world.features)
        self.content = nn.ModuleDict()
        self.project, self.offset = nn.ParameterDict(), nn.ParameterDict()
        for name in self.names:
            self.content[name] = Content(world.features[name], normalise=normalise)
            self.project[name] = xavier(dim, world.features[name].dimension, generator)  # W_m
            self.offset[name] = nn.Parameter(torch.zeros(dim))  # b_m

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

    def place(self, modality: int) -> slice:
        """Where the channel of a modality, by number, stands in the width."""
        return slice((1 + modality) * self.dim, (2 + modality) * self.dim)
