"""The largest singular vectors of a sparse matrix, in float64 and the same in every call.

A few of many are found by Lanczos iterations (ARPACK) over the sparse matrix. Where they are a
large part of all there are, the smaller of the two Gram matrices is decomposed instead.
"""

from __future__ import annotations

import numpy as np

from mmx.recommend.interactions import UserItems
from mmx.recommend.memory import must_fit

MANY = 4  # times as many as are needed: below that the dense way is quicker, and exact
NOISE = 1e-10  # of the largest squared singular value: what is below counts as 0


def right_singular_vectors(pattern: UserItems, values: np.ndarray, count: int) -> np.ndarray:
    """(items, at most ``count``) float64, by falling singular value, of those above 0.

    The matrix has the (pairs,) ``values`` in the places of ``pattern`` (users, items).
    """
    from scipy.sparse import csr_array

    shape = (pattern.n_users, pattern.n_items)
    smaller = min(shape)
    if not count or not len(values):
        return np.zeros((pattern.n_items, 0))
    matrix = csr_array((values, pattern.indices, pattern.indptr), shape=shape)
    if smaller <= MANY * count:
        must_fit(f"--set rank={count} of {smaller:,} singular vectors", 24 * smaller**2, "lower it")
        return _dense(matrix, count)
    from scipy.sparse.linalg import svds

    start = np.random.default_rng(0).normal(size=smaller)
    _, sizes, turned = svds(matrix, count, v0=start, return_singular_vectors="vh")
    return _above_zero(sizes**2, turned.T, count)


def _dense(matrix, count: int) -> np.ndarray:  # type: ignore[no-untyped-def]  # a csr_array
    """By RᵀR, or by RRᵀ where there are fewer users: v = Rᵀu / σ."""
    users, items = matrix.shape
    gram = (matrix.T @ matrix if items <= users else matrix @ matrix.T).toarray()
    squares, vectors = np.linalg.eigh(gram)
    found = _above_zero(squares, vectors, count)
    if items <= users:
        return found
    turned = matrix.T @ found
    return np.asarray(turned / np.linalg.norm(turned, axis=0))


def _above_zero(squares: np.ndarray, vectors: np.ndarray, count: int) -> np.ndarray:
    """The columns of the ``count`` largest squared singular values above rounding."""
    order = np.argsort(-squares, kind="stable")[:count]
    return vectors[:, order[squares[order] > NOISE * squares.max()]]
