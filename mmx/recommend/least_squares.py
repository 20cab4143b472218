"""A new user's vector by the equation that made the known users', where there is one.

iALS (Hu, Koren and Volinsky, ICDM 2008) solves each user on their own from the items' vectors:

    x_u = (YᵀY + Σ_{i taken by u} α r_ui y_i y_iᵀ + λI)⁻¹ Σ_{i taken by u} (1 + α r_ui) y_i

That is equation 4; r_ui is the weight of a pair, 1 where there is none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mmx.recommend.interactions import UserItems

ROWS_AT_ONCE = 1 << 16  # of the items, in float64


@dataclass(frozen=True)
class LeastSquares:
    """What equation 4 needs besides the items. Raises ValueError for what it cannot be."""

    confidence: float  # α
    reg: float  # λ

    def __post_init__(self) -> None:
        for value in (self.confidence, self.reg):
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not 0 < value < math.inf:
                raise ValueError(f"least squares with {value!r}, a number above 0 is expected")

    def solved(self, items: np.ndarray, histories: UserItems) -> np.ndarray:
        """The vectors of the users of ``histories`` from (items, k) → (n, k) float32.

        Of a user without items, or with such alone as nobody took, it is 0.
        """
        k = items.shape[1]
        base = self.reg * np.eye(k)
        for start in range(0, len(items), ROWS_AT_ONCE):
            some = items[start : start + ROWS_AT_ONCE].astype(np.float64)
            base += some.T @ some
        out = np.zeros((histories.n_users, k), dtype=np.float32)
        for row, (start, stop) in enumerate(pairwise(histories.indptr)):
            own = items[histories.indices[start:stop]].astype(np.float64)
            weighted, counted = own, (1 + self.confidence) * own.sum(0)
            if histories.weights is not None:
                r = histories.weights[start:stop, None]
                weighted, counted = r * own, ((1 + self.confidence * r) * own).sum(0)
            system = base + self.confidence * (weighted.T @ own)
            out[row] = np.linalg.solve(system, counted)
        return out
