"""GF-CF: a low-pass filter over the item graph, with nothing to train.

Shen, Wu, Zhang, Shan, Zhang, Letaief and Li, "How Powerful is Graph Convolution for
Recommendation?", CIKM 2021 (arXiv 2108.07567). The items of a user are a signal on the graph of
items; what is smooth on it is recommended:

    R̃ = D_U^-½ R D_I^-½,  V: its right singular vectors with the K largest singular values
    W = R̃ᵀR̃ + α D_I^-½ V Vᵀ D_I^½        (a linear filter, and an ideal low-pass filter)
    s_ui = Σ_{j taken by u} W_ji

Where pairs have weights they are the entries of R: the degrees D are their sums, and s_ui is a sum
of w_uj W_ji.

Equations: the linear and the ideal low-pass filter, without their numbers.

Released code: divides by the root of zero users of an item that nobody took; here nothing is known
of it.

K = 256 and α = 0.3 are the paper's (its Amazon-Book has α = 0). Where fewer singular values than K
are above 0 the others are left out: their vectors are arbitrary.

Rows of W are made a block at a time. Dense, they need items² × 4 bytes in the run and twice that in
memory, as EASE; with ``keep`` no items × items matrix is ever made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmx.bounds import check_settings, number, whole
from mmx.recommend.blocks.item_item import ItemItem, SparseRows, block_rows, co_occurrences, kept
from mmx.recommend.blocks.singular import right_singular_vectors
from mmx.recommend.interactions import UserItems
from mmx.recommend.memory import must_fit
from mmx.recommend.protocol import World


@dataclass(frozen=True)
class Config:
    """Hyper-parameters of GF-CF."""

    rank: int = 256  # K, singular vectors of the ideal low-pass filter
    ideal: float = 0.3  # α, its weight
    keep: int = 0  # largest |weights| kept of each item's row, items; 0 keeps all, dense

    def __post_init__(self) -> None:
        check_settings(self, rank=whole(0), ideal=number(0), keep=whole(0))


def fit(config: Config, world: World) -> ItemItem:
    """The filter in float32. Raises RunError when a dense one does not fit in memory."""
    train, items = world.train, world.n_items
    if not config.keep:
        must_fit(f"a dense filter over {items:,} items", 8 * items**2, "give --set keep=200")
    roots, unroots = _roots(train.item_sums())  # (items,)
    left, right = _ideal(config, train, roots, unroots)  # (items, K) each
    dense = np.empty((0 if config.keep else items, items), dtype=np.float32)
    parts = []
    shares = 1 / np.where(train.counts > 0, train.user_sums(), 1)  # (users,) D_U^-1
    for block, both in co_occurrences(train, block_rows(items), shares):  # (b, items)
        weights = both * (unroots[block, None] * unroots).astype(np.float32)  # R̃ᵀR̃
        weights += left[block] @ right.T
        if config.keep:
            parts.append(kept(weights, config.keep, np.abs(weights)))
        else:
            dense[block] = weights
    return ItemItem(SparseRows.stacked(parts) if config.keep else dense, train)


def _roots(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """D^½ and D^-½ in float64, both 0 where a sum is."""
    roots = np.sqrt(sums.astype(np.float64))
    return roots, np.divide(1, roots, out=np.zeros_like(roots), where=sums > 0)


def _ideal(
    config: Config, train: UserItems, roots: np.ndarray, unroots: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """α D_I^-½ V and D_I^½ V: (items, K) float32 each."""
    values = _roots(train.user_sums())[1][train.users] * unroots[train.indices]
    values *= train.values()  # (pairs,) of R̃
    rank = config.rank if config.ideal else 0
    v = right_singular_vectors(train, values, rank)
    left, right = config.ideal * unroots[:, None] * v, roots[:, None] * v
    return left.astype(np.float32), right.astype(np.float32)
