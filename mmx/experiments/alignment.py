"""Alignment and uniformity of embeddings.

Wang and Isola, Understanding Contrastive Representation Learning through Alignment and
Uniformity on the Hypersphere, ICML 2020, sections 4.1.1 and 4.1.2. Lower is better for both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from mmx.cache.store import open_store
from mmx.files import Place
from mmx.recommend.features import FeatureSpec

MOST = 20_000  # items whose pairs are all computed; of more, a sample of so many
BLOCK = 2048  # rows of a block of the (n, n) matrix of products


def alignment(x: np.ndarray, y: np.ndarray) -> float:
    """Mean squared distance of (n, d) rows to their partners, all brought to length 1; α = 2."""
    return float(((unit(x) - unit(y)) ** 2).sum(1).mean())


def uniformity(x: np.ndarray, *, t: float = 2.0, most: int = MOST, seed: int = 0) -> float:
    """log of the mean of exp(-t‖x_i - x_j‖²) over pairs i < j of (n, d) rows of length 1.

    Exact up to ``most`` rows, else over so many drawn with ``seed``. NaN for less than two.
    """
    if len(x) > most:
        x = x[np.sort(np.random.default_rng(seed).choice(len(x), most, replace=False))]
    x, n, total = unit(x), len(x), 0.0
    if n < 2:
        return float("nan")
    for start in range(0, n, BLOCK):
        rows = x[start : start + BLOCK]
        for other in range(start, n, BLOCK):
            kernel = np.exp(2 * t * (rows @ x[other : other + BLOCK].T - 1))  # ‖x-y‖² = 2 - 2x·y
            total += np.triu(kernel, 1).sum() if other == start else kernel.sum()
    return float(np.log(total / (n * (n - 1) / 2)))


def unit(x: np.ndarray) -> np.ndarray:
    """(n, d) rows at length 1, in float64; a zero row stays."""
    x = x.astype(np.float64)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.finfo(np.float64).tiny)


def describe(specs: Sequence[FeatureSpec], ids: pa.ChunkedArray) -> dict[str, Any]:
    """Items, alignment and, by modality, uniformity of the vectors that ``specs`` bring.

    Alignment is between image and text vectors of one store with as many dimensions; None
    where there are no such vectors. The items are those with ``ids``.
    """
    facts: dict[str, Any] = {"alignment": None}
    spaces: dict[Place, dict[str, tuple[np.ndarray, np.ndarray]]] = defaultdict(dict)
    for spec in specs:
        store = open_store(spec.path)
        for name in spec.modalities or store.card.modalities:
            matrix, present = spaces[spec.path][name] = store.vectors(name, ids)
            facts[f"items_{name}"] = int(present.sum())
            facts[f"uniformity_{name}"] = uniformity(matrix[present])
    for space in spaces.values():
        if {"image", "text"} <= set(space):
            (x, has_x), (y, has_y) = space["image"], space["text"]
            there = has_x & has_y
            if x.shape == y.shape and there.any():
                facts["alignment"] = alignment(x[there], y[there])
    return facts
