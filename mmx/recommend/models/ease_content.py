"""EASE with item embeddings: the items' contents help to say which item goes with which.

Jeunen, Van Balen and Goethals, "Closed-Form Models for Collaborative Filtering with
Side-Information", RecSys 2020, for any vectors in the place of tags and with both of its ideas:

    collective (CEASE)   C = argmin_B ‖X − XB‖² + α ‖Fᵀ − FᵀB‖² + λ ‖B‖²,  diag(B) = 0
    additive (Add-EASE)  B = (1 − β) C + β S,  S = argmin_B ‖Fᵀ − FᵀB‖² + λ_S ‖B‖²,  diag(B) = 0

Equations: the collective and the additive one together, without their numbers.

Released code: not compared.

F (items, d) holds one column block per modality, each vector centred on the catalogue's mean,
scaled to norm 1 and weighted by the root of its modality's share. Both regressions have the closed
form of EASE on a Gram matrix, XᵀX + αFFᵀ and FFᵀ. The first carries what the interactions teach to
items that few took. The second is what an item has that nobody took: there the first one's weights
are small.

An item without a vector in a modality has zeros there, which is the mean of the known ones: it is
not explained by content in that modality and explains no other item by it; its interactions count
as usual.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmx.bounds import check_settings, number, whole
from mmx.recommend.blocks.content_regression import content_columns, side_by_side
from mmx.recommend.blocks.item_item import ItemItem, blocks_of, sparser
from mmx.recommend.blocks.modalities import parse_weights
from mmx.recommend.models.ease import gram, regress
from mmx.recommend.protocol import World


@dataclass(frozen=True)
class Config:
    """Hyper-parameters of EASE with item embeddings."""

    reg: float = 300.0  # λ, in users
    content: float = 30.0  # α, users that one dimension of the contents counts for
    share: float = 0.1  # β, of the content regression in the result, 0 to 1
    content_reg: float = 10.0  # λ_S, in dimensions
    weights: str = ""  # of modalities, as image:0.3,text:0.7; empty weighs all the same
    keep: int = 0  # largest |weights| kept of each item's row, items; 0 keeps all, dense

    def __post_init__(self) -> None:
        check_settings(
            self,
            reg=number(0, above=True),
            content=number(0),
            share=number(0, 1),
            content_reg=number(0, above=True),
            keep=whole(0),
        )
        parse_weights(self.weights)


def fit(config: Config, world: World) -> ItemItem:
    """The exact solution in float32. Raises RunError when the matrices do not fit in memory."""
    vectors = side_by_side(config.weights, world.features)  # F (items, d)
    matrix = gram(world.train)
    for block in blocks_of(world.n_items):
        matrix[block] += np.float32(config.content) * (vectors[block] @ vectors.T)
    weights = regress(matrix, config.reg)
    if config.share:
        _mix_in(weights, vectors, config)
    return ItemItem(sparser(weights, config.keep) if config.keep else weights, world.train)


def _mix_in(weights: np.ndarray, vectors: np.ndarray, config: Config) -> None:
    """C becomes B in place."""
    columns = content_columns(vectors, config.content_reg) * np.float32(config.share)  # (d, items)
    for block in blocks_of(len(weights)):
        weights[block] *= np.float32(1 - config.share)
        weights[block] += vectors[block] @ columns
    np.fill_diagonal(weights, 0)
