"""Embeddings on the GPU that trains them: validation ranks there, and no copy of them is made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mmx.recommend.device_products import products_there
from mmx.recommend.interactions import UserItems
from mmx.recommend.scoring import Factors, are_many, rank


@dataclass(frozen=True)
class DeviceFactors:
    """A scorer with the lists of ``Factors`` of the same numbers."""

    users: torch.Tensor  # (users, k) float32
    items: torch.Tensor  # (items, k) float32, on the same device

    @property
    def n_items(self) -> int:
        """Items of the catalogue."""
        return len(self.items)

    @property
    def size(self) -> int:
        """Bytes."""
        return self.users.nbytes + self.items.nbytes

    def on_cpu(self) -> Factors:
        """A copy."""
        users, items = (x.cpu().numpy() for x in (self.users, self.items))
        return Factors(users, items, device=str(self.items.device))

    def scores(self, users: np.ndarray) -> np.ndarray:
        """(n,) user numbers → (n, items)."""
        return self.on_cpu().scores(users)

    def best(
        self, users: np.ndarray, k: int, exclude: UserItems, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Items and scores of (n,) users as ``rank`` gives them; few are ranked by the CPU."""
        may = self.items.any(1).cpu().numpy()
        pool = np.flatnonzero(may if allowed is None else may & allowed)
        k = min(k, len(pool))
        if not k or not are_many(len(users), k, len(pool)):
            found = rank(self.on_cpu(), users, k, exclude, allowed)
            return found.items, found.scores
        known = np.flatnonzero(self.users.any(1).cpu().numpy()[users])
        items = np.full((len(users), k), -1, dtype=np.int64)
        scores = np.full((len(users), k), -np.inf, dtype=np.float32)
        which, hidden = users[known], exclude.rows(users[known])
        items[known], scores[known] = products_there(self.users, which, self.items, pool, k, hidden)
        return items, scores

    def are_finite(self) -> bool:
        """Whether no number is NaN or infinite."""
        return bool(self.users.isfinite().all() & self.items.isfinite().all())
