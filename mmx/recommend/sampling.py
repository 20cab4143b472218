"""Negative items for pairwise losses: uniform, never one the user has taken in training."""

from __future__ import annotations

import numpy as np
import torch

from mmx.errors import DataError
from mmx.recommend.interactions import UserItems


class NegativeSampler:
    """Draws uniformly over the catalogue and draws again, exactly, where it hit a positive."""

    def __init__(self, train: UserItems, device: torch.device | str = "cpu") -> None:
        """Raises DataError when a user has every item, so that nothing could be drawn."""
        if (train.counts >= train.n_items).any():
            raise DataError("some user has taken every item; there is no negative item to draw")
        self.n_items = train.n_items
        self.keys = torch.from_numpy(np.ascontiguousarray(train.keys)).to(device)

    def draw(self, users: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """One item for each of (n,) users → (n,) int64."""
        items = self._uniform(len(users), generator)
        wrong = self._positive(users, items).nonzero()[:, 0]
        while len(wrong):
            items[wrong] = self._uniform(len(wrong), generator)
            wrong = wrong[self._positive(users[wrong], items[wrong])]
        return items

    def _uniform(self, count: int, generator: torch.Generator) -> torch.Tensor:
        return torch.randint(self.n_items, (count,), generator=generator, device=self.keys.device)

    def _positive(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        wanted = users * self.n_items + items
        place = torch.searchsorted(self.keys, wanted).clamp_(max=len(self.keys) - 1)
        return self.keys[place] == wanted
