"""How unequally something is shared out."""

from __future__ import annotations

import numpy as np


def gini_of(counts: np.ndarray) -> float:
    """Gini index of (n,) counts: 0 where all are equal, (n - 1)/n where one has everything.

    Σ_i (2i - n - 1) x_i / (n Σ_i x_i) with the counts x in rising order and i from 1 to n; NaN
    where all are 0.
    """
    rising = np.sort(counts).astype(np.float64)
    if not rising.any():
        return float("nan")
    n = len(rising)
    return float((2 * np.arange(1, n + 1) - n - 1) @ rising / (n * rising.sum()))
