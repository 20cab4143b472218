"""L3AE: EASE whose weights are drawn to those that the items' contents suggest.

Moon, Park and Lee, "LLM-Enhanced Linear Autoencoders for Recommendation", CIKM 2025 (arXiv
2508.13500), for any item vectors in the place of a language model's:

    1. C = argmin_B ‖Fᵀ − FᵀB‖² + λ_F ‖B‖²,  diag(B) = 0
    2. B = argmin_B ‖X − XB‖² + λ_X ‖B‖² + λ_E ‖B − C‖²,  diag(B) = 0

    P = (XᵀX + (λ_X + λ_E) I)⁻¹
    B = λ_E PC − P diag((1 + λ_E diag(PC)) / diag(P)) off the diagonal
    s_ui = Σ_{j taken by u} B_ji

The diagonal of C cancels in B, so C is kept as the product F T of two thin matrices: besides
the one items × items matrix of EASE there is no other. With λ_E = 0 it is EASE. An item that nobody
took has the weights λ_E / (λ_X + λ_E) C_ji.

Equations: both steps in closed form, without their numbers.

Released code: takes a language model's vectors as they are; here they are centred on the
catalogue's mean and scaled to norm 1, since what all items share would explain every item by every
other. Its settings have a negative λ_X (-50 beside a λ_E of 150), which is as well defined as long
as λ_X + λ_E is above 0; the defaults here do not.

F (items, d) holds one column block per modality. An item without a vector has zeros there: its
weights are drawn to 0. The paper searches its settings for each data set; these defaults were
chosen on validation on MovieLens 100K with film overviews.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mmx.bounds import check_settings, number, whole
from mmx.errors import OptionError
from mmx.recommend.blocks.content_regression import content_columns, side_by_side
from mmx.recommend.blocks.item_item import ItemItem, blocks_of, sparser
from mmx.recommend.blocks.modalities import parse_weights
from mmx.recommend.models.ease import gram, inverse
from mmx.recommend.protocol import World


@dataclass(frozen=True)
class Config:
    """Hyper-parameters of L3AE."""

    reg: float = 100.0  # λ_X, in users; may be negative, above -guide
    content_reg: float = 50.0  # λ_F, in dimensions
    guide: float = 200.0  # λ_E, how much B is drawn to C, in users
    weights: str = ""  # of modalities, as image:0.3,text:0.7; empty weighs all the same
    keep: int = 0  # largest |weights| kept of each item's row, items; 0 keeps all, dense

    def __post_init__(self) -> None:
        check_settings(
            self,
            reg=number(-math.inf),
            content_reg=number(0, above=True),
            guide=number(0),
            keep=whole(0),
        )
        if self.reg + self.guide <= 0:
            raise OptionError(
                f"--set reg={self.reg:g}: above {-self.guide:g} is expected with guide="
                f"{self.guide:g}, as their sum must be above 0"
            )
        parse_weights(self.weights)


def fit(config: Config, world: World) -> ItemItem:
    """The exact solution in float32. Raises RunError when the matrices do not fit in memory."""
    setting = "the sum of --set reg and guide"
    p = inverse(gram(world.train), config.reg + config.guide, setting)  # (items, items)
    if config.guide:
        _draw_to_contents(p, config, world)
    else:
        p /= -p.diagonal().copy()
    np.fill_diagonal(p, 0)
    return ItemItem(sparser(p, config.keep) if config.keep else p, world.train)


def _draw_to_contents(p: np.ndarray, config: Config, world: World) -> None:
    """P becomes B in place, but for its diagonal.

    In place of C any matrix that differs from it on the diagonal only gives the same B.
    """
    vectors = side_by_side(config.weights, world.features)  # F (items, d)
    columns = content_columns(vectors, config.content_reg) * np.float32(config.guide)  # λ_E T
    moved = p @ vectors  # PF (items, d)
    scale = (1 + np.einsum("id,di->i", moved, columns)) / p.diagonal()  # (items,)
    for block in blocks_of(len(p)):
        p[block] *= -scale
        p[block] += moved[block] @ columns
