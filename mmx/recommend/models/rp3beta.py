"""RP3beta: three steps of a random walk over who took what, with popular items held back.

Paudel, Christoffel, Newell and Bernstein, "Updatable, Accurate, Diverse, and Scalable
Recommendations for Interactive Applications", ACM TiiS 2017 (first: Christoffel et al.,
"Blockbusters and Wallflowers", RecSys 2015). A walk from a user to one of their items, to one of
its users, to one of that user's items ends in item i with a probability that is divided by the
users of i to the power β. The exponent α of each step is that of P3alpha (Cooper et al., "Random
Walks in Recommender Systems", WWW 2014); N and the division by the sum are from the comparison of
Ferrari Dacrema, Cremonesi and Jannach, "Are We Really Making Much Progress?", RecSys 2019:

    W_ji = Σ_{v took j and i} (1/|U_j|)^α (1/|I_v|)^α / |U_i|^β   for the N items i ≠ j where it is
                                                                  largest, in sum 1 for each j
    s_ui = Σ_{j taken by u} W_ji

Where pairs have weights w_ui, a step goes to a neighbour in proportion to them: |U_i| and |I_v| are
sums of weights, (1/|U_j|)^α is (w_vj/|U_j|)^α, (1/|I_v|)^α is (w_vi/|I_v|)^α, and s_ui a sum of
w_uj W_ji.

Equations: the walk of three steps divided by the popularity, without its number; the first step's
probability, 1/|I_u|, is the same for all of a user's items and is left out.

Released code: that of the comparison has the same default α, N and division, and a β of 0.6, which
is not the default here.

The papers search β for each data set. On Amazon Baby 0.6 gave a validation Recall@20 of 0.0232,
less than popularity's 0.0496, where 0.2 gave 0.0584. On dense logs more is better (MovieLens 100K:
0.3621 with 0.6, 0.3367 with 0.3).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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
from mmx.recommend.protocol import World


@dataclass(frozen=True)
class Config:
    """Hyper-parameters of RP3beta."""

    alpha: float = 1.0  # α, exponent of a step's probability
    beta: float = 0.2  # β, exponent of an item's users; 0 is P3alpha
    neighbours: int = 100  # N, items
    unit_sums: bool = True  # divide the weights of each item by their sum

    def __post_init__(self) -> None:
        check_settings(self, alpha=number(0), beta=number(0), neighbours=whole(1))


def fit(config: Config, world: World) -> ItemItem:
    """Sparse weights, made a block of items at a time. Of equal weights the first items stay."""
    train = steps = world.train
    if train.weights is not None:
        steps = replace(train, weights=train.weights**config.alpha)
    leave = _powers(train.item_sums(), -config.alpha)  # (items,) item → user
    back = _powers(train.user_sums(), -config.alpha)  # (users,) user → item
    hold = _powers(train.item_sums(), -config.beta)  # (items,)
    parts = []
    for block, both in co_occurrences(steps, block_rows(world.n_items), back):  # (b, items)
        walks = both * (leave[block, None] * hold)
        parts.append(neighbours_of(walks, block, config.neighbours))
    weights = SparseRows.stacked(parts)
    return ItemItem(unit_sums(weights) if config.unit_sums else weights, train)


def _powers(sums: np.ndarray, exponent: float) -> np.ndarray:
    """Each sum to a power, float32; of 0, where there are no pairs, 0."""
    return np.where(sums > 0, np.where(sums > 0, sums, 1.0) ** exponent, 0).astype(np.float32)
