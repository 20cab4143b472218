"""The exact minimum of a convex quadratic over non-negative numbers.

Block principal pivoting: Portugal, Júdice and Vicente, "A Comparison of Block Pivoting and
Interior-Point Algorithms for Linear Least Squares Problems with Nonnegative Variables", Mathematics
of Computation 1994. A few small linear systems where coordinate descent takes hundreds of sweeps.
"""

from __future__ import annotations

import numpy as np

TRIES = 3  # exchanges of all wrong entries in a row that may fail to lessen them
ROUNDING = 1e-10  # of the right side: how far below 0 a number may be and count as 0


def nonnegative_minimum(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The w ≥ 0 (m,) that minimises ½ wᵀAw − bᵀw, A (m, m) positive definite, in float64.

    At it the gradient Aw − b is 0 where w is above 0, and at least 0 where w is 0.
    """
    inside = b > 0
    best, tries = len(b) + 1, TRIES
    while True:
        w, gradient = _solved(a, b, inside)
        wrong = np.where(inside, w, gradient) < -ROUNDING * np.abs(b).max(initial=0)
        count = int(wrong.sum())
        if not count:
            return np.maximum(w, 0)
        if count < best:
            best, tries = count, TRIES
        else:
            tries -= 1
        if tries < 0:  # one entry at a time, the last one: this always ends (Murty's rule)
            wrong[: np.flatnonzero(wrong)[-1]] = False
        inside = inside ^ wrong


def _solved(a: np.ndarray, b: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """w, zero but for the entries ``inside``, for which the gradient is 0; and the gradient."""
    w = np.zeros_like(b)
    places = np.flatnonzero(inside)
    w[places] = np.linalg.solve(a[np.ix_(places, places)], b[places])
    gradient = a[:, places] @ w[places] - b
    gradient[places] = 0
    return w, gradient
