"""ItemKNN: items that the same users took are neighbours.

Sarwar, Karypis, Konstan and Riedl, "Item-Based Collaborative Filtering Recommendation
Algorithms", WWW 2001: the cosine of two items' user vectors, a prediction as a sum over the
items a user took. Deshpande and Karypis, "Item-Based Top-N Recommendation Algorithms", ACM
TOIS 2004: each item keeps its N most similar ones only. The shrinkage of cosines that rest on
few users is that of Bell and Koren, "Improved Neighborhood-based Collaborative Filtering", KDD
Cup Workshop 2007.

    W_ji = |U_i ∩ U_j| / (|U_j|^a |U_i|^b + h)   for the N items i ≠ j where that is largest
    s_ui = Σ_{j taken by u} W_ji

Where pairs have weights w_ui, |U_i ∩ U_j| is Σ_u w_ui w_uj and |U_i| is Σ_u w_ui², so that it stays
a cosine, and s_ui a sum of w_uj W_ji.

With exponents a = b = ½ it is the cosine. a = 1, b = 0 is the share of j's users who took i, and
a = 1 with a smaller b is Deshpande and Karypis's conditional probability. The two normalisations
of their paper are settings: users scaled to length 1, so that one who took much says less of each
pair (|U| is then a sum of 1/|I_u| over those users, with weights of Σ_i w_ui² in place of |I_u|),
and weights in sum 1 for each item j, so that an item with close neighbours does not outweigh the
others of a user.

Equations: cosine and sum (Sarwar et al.), N neighbours and both normalisations (Deshpande and
Karypis), shrinkage (Bell and Koren), without their numbers.

Released code: not compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmx.bounds import check_settings, number, whole
from mmx.recommend.blocks.item_item import (
    ItemItem,
    SparseRows,
    block_rows,
    co_occurrences,
    neighbours_of,
    unit_sums,
)
from mmx.recommend.interactions import UserItems
from mmx.recommend.protocol import World


@dataclass(frozen=True)
class Config:
    """Hyper-parameters of ItemKNN."""

    neighbours: int = 200  # N, items
    shrinkage: float = 10.0  # h, users
    from_power: float = 0.5  # a, exponent of the users of an item that the user took
    to_power: float = 0.5  # b, exponent of the users of an item that is scored
    unit_users: bool = False  # scale each user's items to length 1 first
    unit_sums: bool = False  # divide the weights of each item by their sum

    def __post_init__(self) -> None:
        check_settings(
            self,
            neighbours=whole(1),
            shrinkage=number(0),
            from_power=number(0, 1),
            to_power=number(0, 1),
        )


def fit(config: Config, world: World) -> ItemItem:
    """Sparse weights, made a block of items at a time. Of equally similar items the first stay."""
    train = world.train
    lengths = np.where(train.counts > 0, train.user_sums(2), 1)  # (users,) squared
    weights = 1 / lengths if config.unit_users else None
    sizes = _sizes(train, weights)
    left, right = (
        np.where(sizes > 0, sizes**power, 0).astype(np.float32)
        for power in (config.from_power, config.to_power)
    )
    parts = []
    for block, both in co_occurrences(train, block_rows(world.n_items), weights):  # (b, items)
        scale = left[block, None] * right + np.float32(config.shrinkage)
        similar = np.divide(both, scale, out=np.zeros_like(both), where=scale > 0)
        parts.append(neighbours_of(similar, block, config.neighbours))
    rows = SparseRows.stacked(parts)
    return ItemItem(unit_sums(rows) if config.unit_sums else rows, train)


def _sizes(train: UserItems, weights: np.ndarray | None) -> np.ndarray:
    """|U_i| of each item, or the sum of its users' weights: (items,) float64."""
    each = train.values() ** 2
    if weights is not None:
        each *= weights[train.users]
    return np.bincount(train.indices, each, minlength=train.n_items).astype(np.float64)
