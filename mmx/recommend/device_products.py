"""The best inner products of many users, multiplied on a GPU.

The GPU proposes a few more items than a list has, by the same float32 as the CPU's product; what
rounding may have put in another order is scored again on the CPU, as ``mmx.recommend.ties`` says.
So the items and their order are those of ``best_products``. A score that no other is close to is
the product itself, whose last digits are the device's.

Embeddings that are there already, as in a training, are not copied: only what is scored again is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mmx.devices import CPU
from mmx.recommend.best import Best
from mmx.recommend.interactions import UserItems
from mmx.recommend.products import best_products, lengths_of
from mmx.recommend.ties import SPARE, UserItemVectors, settled
from mmx.search.on_device import DeviceRows, tried

if TYPE_CHECKING:
    import torch

    from mmx.search.on_device import Matrix


def products_on(
    device: str,
    users: np.ndarray,
    items: np.ndarray,
    pool: np.ndarray,
    k: int,
    hidden: UserItems,
) -> tuple[np.ndarray, np.ndarray]:
    """``best_products`` by a device; by the CPU where the items do not fit in its memory."""
    best = None
    if device != CPU:
        best = tried(device, lambda: _proposed(device, users, items, pool, k + SPARE, hidden))
    if best is None:
        return best_products(users, items, pool, k, hidden)
    vectors = UserItemVectors(users, items, lengths_of(users), lengths_of(items))
    return settled(vectors, best, k, hidden, pool)


def products_there(
    users: torch.Tensor,
    which: np.ndarray,
    items: torch.Tensor,
    pool: np.ndarray,
    k: int,
    hidden: UserItems,
) -> tuple[np.ndarray, np.ndarray]:
    """The same for ``which`` (n,) of the users, by the device that both are on."""
    import torch

    def there() -> tuple[np.ndarray, np.ndarray]:
        mine = users[torch.from_numpy(which).to(users.device)]
        best = _proposed(device, mine, items, pool, k + SPARE, hidden)
        lengths = (torch.linalg.vector_norm(x, dim=1).cpu().numpy() for x in (mine, items))
        return settled(UserItemVectors(mine, items, *lengths), best, k, hidden, pool)

    device = str(items.device)
    found = tried(device, there)
    if found is None:
        found = best_products(users.cpu().numpy()[which], items.cpu().numpy(), pool, k, hidden)
    return found


def _proposed(
    device: str, users: Matrix, items: Matrix, pool: np.ndarray, count: int,
    hidden: UserItems,
) -> Best:  # fmt: skip
    place = np.full(hidden.n_items, -1)
    place[pool] = np.arange(len(pool))
    places = place[hidden.indices]
    known = places >= 0
    rows = DeviceRows(items, device, which=None if len(pool) == len(items) else pool)
    pairs = hidden.users[known], places[known]
    scores, found = rows.best(users, min(count, len(pool)), pairs)
    return Best.of(scores, pool[found])
