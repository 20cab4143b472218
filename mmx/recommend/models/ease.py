"""EASE: the linear item-item model with a closed form.

Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019 (arXiv 1905.03375).

    min_B ‖X − XB‖²_F + λ‖B‖²_F   with diag(B) = 0                       (equations 2 to 4)
    P = (XᵀX + λI)⁻¹,  B_ij = −P_ij / P_jj for i ≠ j, 0 on the diagonal   (equation 8)
    s_ui = Σ_{j taken by u} B_ji

X is the paper's: 0 and 1, or the weights of the pairs where the log has any; s_ui is then a sum of
w_uj B_ji.

Equations: 2 to 4 and 8.

Released code: not compared.

The item-item matrix is dense: items² × 4 bytes in the run, twice that in memory while it is made
and written, and the inverse costs some items³ operations. Where that is too much there is ItemKNN;
``keep`` makes only the result sparse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mmx.bounds import check_settings, number, whole
from mmx.errors import RunError
from mmx.recommend.blocks.item_item import ItemItem, block_rows, co_occurrences, sparser
from mmx.recommend.interactions import UserItems
from mmx.recommend.memory import must_fit
from mmx.recommend.protocol import World


@dataclass(frozen=True)
class Config:
    """Hyper-parameters of EASE."""

    reg: float = 400.0  # λ, in users
    keep: int = 0  # largest |weights| kept of each item's row, items; 0 keeps all, dense

    def __post_init__(self) -> None:
        check_settings(self, reg=number(0, above=True), keep=whole(0))


def fit(config: Config, world: World) -> ItemItem:
    """The exact solution in float32. Raises RunError when the matrices do not fit in memory."""
    weights = regress(gram(world.train), config.reg)
    return ItemItem(sparser(weights, config.keep) if config.keep else weights, world.train)


def gram(train: UserItems) -> np.ndarray:
    """XᵀX, (items, items) float32. Raises RunError when it does not fit in memory."""
    items = train.n_items
    must_fit(f"EASE of {items} items", 8 * items**2, "choose --model itemknn")
    product = np.empty((items, items), dtype=np.float32)
    for block, both in co_occurrences(train, block_rows(items)):
        product[block] = both
    return product


def regress(gram: np.ndarray, reg: float) -> np.ndarray:
    """B of equation 8 from a Gram matrix (items, items), whose memory it uses up."""
    p = inverse(gram, reg, f"--set reg={reg:g}")
    p /= -p.diagonal().copy()  # column j by −P_jj
    np.fill_diagonal(p, 0)
    return p


def inverse(gram: np.ndarray, reg: float, setting: str) -> np.ndarray:
    """P of equation 8, symmetric, from a Gram matrix (items, items), whose memory it uses up.

    Raises RunError, which names the ``setting``, where float32 does not hold the inverse.
    """
    matrix = torch.from_numpy(gram)
    matrix.diagonal().add_(reg)
    turned = matrix.mT  # the order LAPACK works in, so that both steps run in place
    failed = torch.empty((), dtype=torch.int32)
    torch.linalg.cholesky_ex(turned, upper=True, out=(turned, failed))
    if failed:
        raise RunError(f"{setting} is too small for float32; raise it")
    torch.cholesky_inverse(turned, upper=True, out=turned)
    return gram
