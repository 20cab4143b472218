"""ItemKNN: items that the same users took are neighbours.

Sarwar, Karypis, Konstan and Riedl, "Item-Based Collaborative Filtering Recommendation
Algorithms", WWW 2001: the cosine of two items' user vectors, a prediction as a sum over the
items a user took. Deshpande and Karypis, "Item-Based Top-N Recommendation Algorithms", ACM
TOIS 2004: each item keeps its N most similar ones only. The shrinkage of cosines that rest on
few users is that of Bell and Koren, "Improved Neighborhood-based Collaborative Filtering", KDD
Cup Workshop 2007.

    W_ji = |U_i ∩ U_j| / (√(|U_i| |U_j|) + h)   for the N items i ≠ j where that is largest
    s_ui = Σ_{j taken by u} W_ji
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmx.bounds import check_settings, number, whole
from mmx.recommend.blocks.item_item import ItemItem, SparseRows, block_rows, co_occurrences, kept
from mmx.recommend.protocol import World


@dataclass(frozen=True)
class Config:
    """Hyper-parameters of ItemKNN."""

    neighbours: int = 200  # N, items
    shrinkage: float = 10.0  # h, users

    def __post_init__(self) -> None:
        check_settings(self, neighbours=whole(1), shrinkage=number(0))


def fit(config: Config, world: World) -> ItemItem:
    """Sparse weights, made a block of items at a time. Of equally similar items the first stay."""
    lengths = np.sqrt(world.train.item_counts).astype(np.float32)
    parts = []
    for block, both in co_occurrences(world.train, block_rows(world.n_items)):  # (b, items)
        scale = lengths[block, None] * lengths + np.float32(config.shrinkage)
        similar = np.divide(both, scale, out=np.zeros_like(both), where=scale > 0)
        parts.append(neighbours_of(similar, block, config.neighbours))
    return ItemItem(SparseRows.stacked(parts), world.train)


def neighbours_of(similar: np.ndarray, block: slice, count: int) -> SparseRows:
    """The most similar items of a block of items, (b, items), other than each itself."""
    similar[np.arange(len(similar)), np.arange(block.start, block.stop)] = 0
    return kept(np.maximum(similar, 0), count)
