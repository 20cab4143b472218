"""Vectors along their principal axes, by the smaller of their two Gram matrices.

Of n vectors X (n, d) about their mean, XᵀX (d, d) and XXᵀ (n, n) have the same eigenvalues λ but
for zeros. The coordinates along the axes are X v by the eigenvectors v of the first, and √λ u by
the eigenvectors u of the second.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

BLOCK_BYTES = 64 << 20  # of vectors at once
EPSILON = float(np.finfo(np.float32).eps)
EXACT = 2048  # dimensions up to which XᵀX is made and decomposed in float64


def along_principal_axes(vectors: np.ndarray, count: int) -> np.ndarray:
    """(n, d) float32 vectors → (n, at most ``count``) float32, by falling variance.

    There are as many columns as axes along which the vectors differ by more than rounding them
    to float32 can make. The coordinate largest in size is positive along each axis, so that the
    sign does not depend on the machine.
    """
    middle = vectors.mean(0, dtype=np.float64)
    smaller = _by_rows if len(vectors) < vectors.shape[1] else _by_columns
    turned = smaller(vectors, middle, count)
    noise = EPSILON**2 * _squares("ij,ij->", vectors)
    turned = turned[:, _squares("ij,ij->j", turned) > noise]
    largest = np.abs(turned).argmax(0)  # (axes,)
    return turned * np.sign(turned[largest, np.arange(turned.shape[1])])


def along_the_same(vectors: np.ndarray, along: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Coordinates (m, axes) float32 of ``others`` (m, d) on the axes of ``vectors`` (n, d).

    ``along`` (n, axes) is what ``along_principal_axes`` made of the vectors. With X the vectors
    about their mean and Z their coordinates the axes are XᵀZ, each column divided by its ‖z‖².
    """
    if not len(others):
        return np.zeros((0, along.shape[1]), np.float32)
    middle = vectors.mean(0, dtype=np.float64)
    axes = np.zeros((vectors.shape[1], along.shape[1]))
    for rows in _blocks(*vectors.shape):
        axes += (vectors[rows] - middle).T @ along[rows]
    axes /= _squares("ij,ij->j", along)
    return np.asarray((others - middle) @ axes, dtype=np.float32)


def _by_columns(vectors: np.ndarray, middle: np.ndarray, count: int) -> np.ndarray:
    """By XᵀX, for at least as many vectors as dimensions."""
    n, d = vectors.shape
    precision = torch.float64 if d <= EXACT else torch.float32  # which takes half the time
    gram = torch.zeros(d, d, dtype=precision)
    for rows in _blocks(n, d):
        x = torch.from_numpy(vectors[rows] - middle).to(precision)
        gram.addmm_(x.T, x)
    axes = torch.linalg.eigh(gram).eigenvectors.flip(1)[:, :count]  # (d, axes)
    turned = torch.empty(n, axes.shape[1])
    for rows in _blocks(n, d):
        turned[rows] = (torch.from_numpy(vectors[rows] - middle).to(precision) @ axes).float()
    return turned.numpy()


def _by_rows(vectors: np.ndarray, middle: np.ndarray, count: int) -> np.ndarray:
    """By XXᵀ, for fewer vectors than dimensions; in float64, as λ is the square of a length."""
    n, d = vectors.shape
    gram = torch.zeros(n, n, dtype=torch.float64)
    for columns in _blocks(d, n):
        x = torch.from_numpy(vectors[:, columns] - middle[columns])
        gram.addmm_(x, x.T)
    values, coordinates = torch.linalg.eigh(gram)  # ascending
    turned = coordinates * values.clamp(min=0).sqrt()
    return turned.flip(1)[:, :count].float().numpy()


def _squares(which: str, x: np.ndarray) -> np.ndarray:
    """Sums of squares, in float64 as float32 may not hold them."""
    return np.einsum(which, x, x, dtype=np.float64)


def _blocks(length: int, width: int) -> Iterator[slice]:
    step = max(1, BLOCK_BYTES // (8 * width))
    for start in range(0, length, step):
        yield slice(start, start + step)
