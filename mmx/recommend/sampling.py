"""Negative items for pairwise losses, never one the user has taken in training."""

from __future__ import annotations

import numpy as np
import torch

from mmx.errors import DataError, one_of
from mmx.recommend.interactions import UserItems

RULES = ("uniform", "popularity")


class NegativeSampler:
    """Draws items and draws again, exactly, where it hit a positive.

    "uniform" draws every item alike. "popularity" draws an item in proportion to how often
    it was taken in training, so that an item without training interactions is never drawn.
    """

    def __init__(
        self, train: UserItems, device: torch.device | str = "cpu", rule: str = "uniform"
    ) -> None:
        """Raises DataError when some user has every item, so that nothing could be drawn."""
        one_of("--negatives", rule, RULES)
        drawable = train.n_items if rule == "uniform" else int((train.item_counts > 0).sum())
        if (train.counts >= drawable).any():
            raise DataError("some user has taken every item; there is no negative item to draw")
        self.n_items, self.rule = train.n_items, rule
        self.keys = torch.from_numpy(np.ascontiguousarray(train.keys)).to(device)

    def draw(self, users: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """One item for each of (n,) users → (n,) int64."""
        items = self._any(len(users), generator)
        wrong = self._positive(users, items).nonzero()[:, 0]
        while len(wrong):
            items[wrong] = self._any(len(wrong), generator)
            wrong = wrong[self._positive(users[wrong], items[wrong])]
        return items

    def _any(self, count: int, generator: torch.Generator) -> torch.Tensor:
        device = self.keys.device
        if self.rule == "uniform":
            return torch.randint(self.n_items, (count,), generator=generator, device=device)
        # an item is as likely as it is frequent: take the item of a random training pair
        pairs = torch.randint(len(self.keys), (count,), generator=generator, device=device)
        return self.keys[pairs] % self.n_items

    def _positive(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        wanted = users * self.n_items + items
        place = torch.searchsorted(self.keys, wanted).clamp_(max=len(self.keys) - 1)
        return self.keys[place] == wanted
