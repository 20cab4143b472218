"""iALS: matrix factorisation of all pairs, taken or not, by alternating least squares.

Hu, Koren and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008:

    min Σ_ui c_ui (p_ui − x_u·y_i)² + λ (Σ_u ‖x_u‖² + Σ_i ‖y_i‖²)               (equation 3)
    p_ui = 1 and c_ui = 1 + α r_ui where u took i, p_ui = 0 and c_ui = 1 elsewhere
    x_u = (YᵀY + Σ_{i taken by u} α r_ui y_i y_iᵀ + λI)⁻¹ Σ_{i taken by u} c_ui y_i  (equation 4)
    y_i likewise from the users who took i                                      (equation 5)

r_ui is the weight of a pair, the paper's count of what u did with i; without weights it is 1.
Users first, then items, both in blocks: a sweep. α = 40 is the paper's. It searches λ for each data
set; this default was chosen on validation on MovieLens 100K.

Equations: 3 to 5.

Released code: not compared. The library `implicit` gives the same factors for its ``alpha`` of
1 + α, which it takes for the whole confidence of a pair.

A user given as a list of items is solved from the items' last vectors by equation 4.

Nothing is learned of a user or an item without pairs: their vectors are 0. The sweeps start from
small normal vectors of the items, drawn with the run's seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from mmx.bounds import MOST, WIDEST, check_settings, number, whole
from mmx.recommend.interactions import UserItems
from mmx.recommend.least_squares import LeastSquares
from mmx.recommend.memory import must_fit
from mmx.recommend.protocol import World
from mmx.recommend.scoring import Factors

BLOCK_NUMBERS = 1 << 20  # of a block's systems, or of its gathered vectors, 8 bytes each
SPREAD = 0.1  # of a first vector's expected length


@dataclass(frozen=True)
class Config:
    """Hyper-parameters of iALS."""

    dim: int = 64  # columns of the embeddings
    confidence: float = 40.0  # α, what a pair of weight 1 counts beyond the others' 1
    reg: float = 100.0  # λ, in pairs
    sweeps: int = 15  # over users and items

    def __post_init__(self) -> None:
        check_settings(
            self,
            dim=whole(1, WIDEST),
            confidence=number(0, above=True),
            reg=number(0, above=True),
            sweeps=whole(1, MOST),
        )


def fit(config: Config, world: World) -> Factors:
    """The factors after all sweeps. Raises RunError when they do not fit in memory."""
    rows = world.n_users + world.n_items
    needed = 16 * rows * config.dim + 24 * max(BLOCK_NUMBERS, config.dim**2)
    must_fit(f"--set dim={config.dim} of {rows:,} users and items", needed, "lower it")
    generator = torch.Generator().manual_seed(world.seed)
    shape = (world.n_items, config.dim)
    items = torch.randn(shape, generator=generator, dtype=torch.float64)
    users, items = swept(config, world.train, items * (SPREAD / config.dim**0.5))
    solve = LeastSquares(float(config.confidence), float(config.reg))
    return Factors(users.float().numpy(), items.float().numpy(), solve)


def swept(
    config: Config, train: UserItems, items: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The sweeps from the items' first vectors (items, k) float64 → (users, k), (items, k)."""
    takers = train.transposed()
    for _ in range(config.sweeps):
        users = _solved(config, train, items)  # equation 4
        items = _solved(config, takers, users)  # equation 5
    return users, items


def _solved(config: Config, rows: UserItems, others: torch.Tensor) -> torch.Tensor:
    """The vectors of one side (n, k) from those of the other (m, k) and the (n, m) pairs."""
    k = others.shape[1]
    base = others.T @ others + config.reg * torch.eye(k, dtype=others.dtype)  # (k, k)
    out = torch.zeros(rows.n_users, k, dtype=others.dtype)
    for block in _blocks(rows.counts, k):
        systems, right = _systems(rows.rows(block), others, config.confidence)
        factor = torch.linalg.cholesky(systems.add_(base))
        out[torch.from_numpy(block)] = torch.cholesky_solve(right[:, :, None], factor)[:, :, 0]
    return out


def _systems(
    rows: UserItems, others: torch.Tensor, alpha: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Σ αr y yᵀ (b, k, k) and Σ (1 + αr) y (b, k) over each row's own.

    A few places of all rows at a time.
    """
    b, k = rows.n_users, others.shape[1]
    systems, sums = others.new_zeros(b, k, k), others.new_zeros(b, k)
    step = max(1, BLOCK_NUMBERS // (b * k))
    longest = int(rows.counts.max())
    for start in range(0, longest, step):
        some = np.arange(start, min(start + step, longest))  # (s,) places within a row
        there = torch.from_numpy(some < rows.counts[:, None])  # (b, s)
        places = np.minimum(rows.indptr[:-1, None] + some, len(rows.indices) - 1)
        found = others[torch.from_numpy(rows.indices[places])]  # (b, s, k)
        found = found * there[:, :, None]
        weighted, counted = found, found  # r y, and (1 + αr) / (1 + α) y
        if rows.weights is not None:
            r = torch.from_numpy(rows.weights[places])[:, :, None]
            weighted, counted = r * found, (1 + alpha * r) / (1 + alpha) * found
        systems.baddbmm_(weighted.mT, found)
        sums += counted.sum(1)
    return systems.mul_(alpha), sums.mul_(1 + alpha)


def _blocks(counts: np.ndarray, k: int) -> Iterator[np.ndarray]:
    """Rows that have pairs, those of similar numbers together, so that little is padded."""
    order = np.argsort(counts, kind="stable")
    order = order[counts[order] > 0]
    start = 0
    while start < len(order):
        stop = start + max(1, BLOCK_NUMBERS // (k * k))
        largest = 2 * counts[order[start]] + 8  # no row of a block is more than twice the first
        stop = min(stop, int(np.searchsorted(counts[order], largest, side="right")))
        yield order[start:stop]
        start = stop
