"""Items of the same users in training: the positives of the co-interaction objective."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from mmx.data.dataset import Items
from mmx.errors import DataError


class Partners:
    """Draws, for an item, another item of one of its users."""

    def __init__(self, items: Items, split: pa.Table) -> None:
        """``split`` has user_id, item_id, split; only its training rows count."""
        train = split.filter(pc.equal(split["split"], "train"))
        users = train["user_id"].combine_chunks().dictionary_encode().indices.to_numpy()
        rows = pc.index_in(train["item_id"], value_set=items.ids.combine_chunks()).to_numpy()
        self.by_item = _grouped(rows, users, len(items))
        self.by_user = _grouped(users, rows, int(users.max()) + 1)
        self.sha256 = hashlib.sha256(np.stack([users, rows]).astype(np.int64).tobytes()).hexdigest()
        if np.diff(self.by_user[0]).max() < 2:
            raise DataError("no user has two training items; co-interaction has no positives")

    def draw(self, rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """(n,) item rows → (n,) rows of partners; an item without users is its own."""
        items = rows.numpy()
        user = _pick(self.by_item, items, generator)
        partner = np.where(user >= 0, _pick(self.by_user, np.maximum(user, 0), generator), items)
        return torch.from_numpy(partner)


def _grouped(keys: np.ndarray, values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Values by key as (indptr, values)."""
    order = np.argsort(keys, kind="stable")
    counts = np.bincount(keys, minlength=count)
    return np.concatenate([[0], np.cumsum(counts)]), values[order].astype(np.int64)


def _pick(
    groups: tuple[np.ndarray, np.ndarray], keys: np.ndarray, generator: torch.Generator
) -> np.ndarray:
    """One value of each key, uniformly; -1 where a key has none."""
    starts, values = groups
    counts = starts[keys + 1] - starts[keys]
    drawn = torch.rand(len(keys), generator=generator, dtype=torch.float64).numpy()
    place = starts[keys] + (drawn * counts).astype(np.int64)
    return np.where(counts > 0, values[np.minimum(place, len(values) - 1)], -1)
