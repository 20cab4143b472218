"""Gaussian vectors with the mean, the covariance and the norms of given ones.

Vectors x = μ + L z with z ~ N(0, I) have the mean and the covariance Σ = LLᵀ, but not the norms:
those of an encoder that normalises are all 1. The k-th shortest x is scaled to the k-th smallest
norm, which moves mean and covariance, an affine map brings these back, and so on: each of the two
steps keeps most of what the other has done. Norms are exact at the end, as they come last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mmx.mapped import in_blocks

if TYPE_CHECKING:
    from mmx.recommend.features import Features

ROUNDS = 4  # of both steps; what is off falls to a half or less in each
JITTER = 1e-10  # of the total variance, along every axis: real vectors may have no variance there


def gaussian(found: Features, rng: np.random.Generator) -> np.ndarray:
    """(items, d) float32 in the features' space: noise where a vector is present, else zero.

    Of at most d vectors the covariance is that of the vectors but for sampling, and for what the
    norms move.
    """
    present, norms = found.present, np.sort(found.norms()[found.present])
    matrix = found.space.zeros(*found.matrix.shape)
    if len(norms) <= found.dimension:
        _draw_from_few(matrix, found, rng)
        _scale(matrix, present, norms)
        return matrix
    mean, covariance = _moments(found.matrix, present)
    root = _root(covariance)  # (d, d), rootᵀ root = Σ
    for rows in in_blocks(matrix):
        count = int(present[rows].sum())
        matrix[rows][present[rows]] = rng.standard_normal((count, found.dimension)) @ root + mean
    _scale(matrix, present, norms)
    for _ in range(ROUNDS):
        middle, mine = _moments(matrix, present)
        turn = np.linalg.solve(_root(mine), root)
        for rows in in_blocks(matrix):
            block = matrix[rows][present[rows]].astype(np.float64)
            matrix[rows][present[rows]] = (block - middle) @ turn + mean
        _scale(matrix, present, norms)
    return matrix


def _draw_from_few(matrix: np.ndarray, found: Features, rng: np.random.Generator) -> None:
    """Σ of n ≤ d vectors is XᵀX / n of them about their mean: L needs no decomposition."""
    known = found.matrix[found.present].astype(np.float64)
    mean = known.sum(0) / max(1, len(known))
    about = (known - mean) / np.sqrt(max(1, len(known)))  # (n, d)
    for rows in in_blocks(matrix):
        count = int(found.present[rows].sum())
        matrix[rows][found.present[rows]] = rng.standard_normal((count, len(about))) @ about + mean


def _moments(matrix: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) and covariance (d, d) of the present rows, in float64."""
    count, d = max(1, int(present.sum())), matrix.shape[1]
    mean, covariance = np.zeros(d), np.zeros((d, d))
    for rows in in_blocks(matrix):
        mean += matrix[rows][present[rows]].sum(0, dtype=np.float64) / count
    for rows in in_blocks(matrix):
        about = matrix[rows][present[rows]] - mean
        covariance += about.T @ about / count
    return mean, covariance


def _root(covariance: np.ndarray) -> np.ndarray:
    """(d, d) upper triangular R with RᵀR = Σ, plus JITTER."""
    total = max(float(np.trace(covariance)), np.finfo(np.float64).tiny)
    return np.linalg.cholesky(covariance + JITTER * total * np.eye(len(covariance))).T


def _scale(matrix: np.ndarray, present: np.ndarray, norms: np.ndarray) -> None:
    """Bring the present rows to the (n,) rising ``norms``, the shortest row to the smallest."""
    known, squares = np.flatnonzero(present), np.empty(len(matrix))
    for rows in in_blocks(matrix):
        squares[rows] = np.square(matrix[rows], dtype=np.float64).sum(1)
    lengths = np.sqrt(squares[known])
    factors = np.zeros(len(matrix))
    order = np.argsort(lengths, kind="stable")
    factors[known[order]] = norms / np.maximum(lengths[order], np.finfo(np.float32).tiny)
    for rows in in_blocks(matrix):
        matrix[rows] *= factors[rows, None]
