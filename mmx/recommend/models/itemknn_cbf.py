"""ItemKNN-CBF: items with similar contents are neighbours.

The content-based nearest-neighbour recommender described by Lops, de Gemmis and Semeraro,
"Content-based Recommender Systems: State of the Art and Trends", Recommender Systems Handbook,
2011, in the form that Ferrari Dacrema, Boglio, Cremonesi and Jannach compare others with, "A
Troubling Analysis of Reproducibility and Progress in Recommender Systems Research", ACM TOIS 2021.

    sim(j, i) = Σ_m w_m cos(f_jm, f_im) / Σ_m w_m   over the modalities m that both items have
    W_ji      = sim(j, i) for the N items i ≠ j where it is largest, where it is above 0
    s_ui      = Σ_{j taken by u} W_ji

Equations: the mean cosine of the modalities, N neighbours of each item and their sum, without their
numbers.

Released code: MMRec's counts an item among its own neighbours, and takes the vectors as they are.
Here an item is not its own neighbour, and vectors are centred on the catalogue's mean first, since
what all items share makes no two of them more similar.

No interaction enters W, so an item that nobody took is scored like any other. Where pairs have
weights s_ui is a sum of w_uj W_ji.
An item without a vector in any modality has no neighbours: it scores 0 for everyone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmx.bounds import check_settings, whole
from mmx.recommend.blocks.item_item import ItemItem, SparseRows, blocks_of, neighbours_of
from mmx.recommend.blocks.modalities import modality_weights, parse_weights
from mmx.recommend.features import Features
from mmx.recommend.protocol import World


@dataclass(frozen=True)
class Config:
    """Hyper-parameters of ItemKNN-CBF."""

    neighbours: int = 50  # N, items
    weights: str = ""  # w_m, as image:0.3,text:0.7; empty weighs all modalities the same

    def __post_init__(self) -> None:
        check_settings(self, neighbours=whole(1))
        parse_weights(self.weights)


def fit(config: Config, world: World) -> ItemItem:
    """Sparse weights, made a block of items at a time. Of equally similar items the first stay."""
    shares = modality_weights(config.weights, world.features)
    mixed = [(share, world.features[name].normalised()) for name, share in shares.items()]
    parts = []
    for block in blocks_of(world.n_items):
        parts.append(neighbours_of(_similar(mixed, block), block, config.neighbours))
    return ItemItem(SparseRows.stacked(parts), world.train)


def _similar(mixed: list[tuple[float, Features]], block: slice) -> np.ndarray:
    """Mean cosine over the modalities that both items have: (b, items), 0 where there is none."""
    total: np.ndarray | float = 0.0
    shared: np.ndarray | float = 0.0
    for share, features in mixed:
        total = total + np.float32(share) * (features.matrix[block] @ features.matrix.T)
        both = features.present[block, None] & features.present
        shared = shared + np.float32(share) * both
    assert isinstance(total, np.ndarray)
    return np.divide(total, shared, out=np.zeros_like(total), where=shared > 0)
