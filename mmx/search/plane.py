"""A map of the vectors of a store: near items are near each other in two dimensions.

The two principal axes of the vectors (each divided by its length, as a search compares cosines),
by a few steps of subspace iteration.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmx.cache.decoding import opened, read_columns
from mmx.cache.schema import OK
from mmx.cache.seal import read_footer
from mmx.cache.store import Store
from mmx.errors import one_of
from mmx.search.vectors import vectors_of

MOST = 5000  # items of a map; of more, a sample is drawn
STEPS, SPARE = 12, 8  # of the subspace iteration: steps, and axes more than needed


@dataclass(frozen=True)
class Map:
    """Items of a store in the plane."""

    ids: pa.Array  # (n,) text, in the store's order
    points: np.ndarray  # (n, 2) float32, both coordinates in [0, 1]
    total: int  # items that have a vector, of which these are all or a sample


def map_of(store: Store, modality: str, most: int = MOST, seed: int = 0) -> Map:
    """The map of a modality of a store; at most ``most`` vectors are in memory.

    The same store and seed give the same items and points. Raises StoreError when the store has
    no such modality, and DamagedError.
    """
    one_of("--modality", modality, store.card.dimensions)
    ids = _with_vectors(store, modality)
    total = len(ids)
    if total > most:
        chosen = np.random.default_rng(seed).choice(total, most, replace=False)
        ids = ids.take(pa.array(np.sort(chosen)))
    matrix, present = store.vectors(modality, ids)
    usable = vectors_of(ids.filter(pa.array(present)), matrix[present])
    return Map(usable.ids, plane(usable.matrix * usable.scale[:, None], seed), total)


def plane(vectors: np.ndarray, seed: int = 0) -> np.ndarray:
    """(n, d) float32 vectors of length 1 → (n, 2) float32, both coordinates in [0, 1]."""
    if not len(vectors):
        return np.zeros((0, 2), np.float32)
    centred = (vectors - vectors.mean(0, dtype=np.float64)).astype(np.float32)
    return _in_the_square(centred @ _axes(centred, seed))


def _with_vectors(store: Store, modality: str) -> pa.Array:
    """Ids of the items whose status says that they have one."""
    name, found = f"{modality}_status", [pa.chunked_array([], pa.string())]
    for file in store.files:
        with opened(file, read_footer(file)[0]) as source:
            table = read_columns(source, ["item_id", name])
        there = pc.equal(table[name].cast(pa.string()), OK)
        found.append(table["item_id"].cast(pa.string()).filter(there))
    return pa.chunked_array(
        [c for part in found for c in part.chunks], pa.string()
    ).combine_chunks()


def _axes(centred: np.ndarray, seed: int) -> np.ndarray:
    """(d, 2) the principal axes; the largest number of each is positive."""
    d = centred.shape[1]
    start = np.random.default_rng(seed).standard_normal((d, min(d, 2 + SPARE)))
    basis = np.linalg.qr(start)[0]
    for _ in range(STEPS):
        basis = np.linalg.qr(centred.T @ (centred @ basis.astype(np.float32)))[0]
    small = centred @ basis.astype(np.float32)  # (n, 2 + SPARE)
    turned = np.linalg.eigh(small.T.astype(np.float64) @ small)[1][:, ::-1]
    axes = (basis @ turned)[:, :2]
    axes = np.pad(axes, ((0, 0), (0, 2 - axes.shape[1])))
    axes = axes * np.where(axes[np.abs(axes).argmax(0), [0, 1]] < 0, -1, 1)
    return np.asarray(axes, dtype=np.float32)


def _in_the_square(points: np.ndarray) -> np.ndarray:
    """Moved and scaled by one factor, so that the larger side is 1."""
    low = points.min(0)
    side = float((points.max(0) - low).max())
    middle = (1 - (points.max(0) - low) / side) / 2 if side > 0 else np.full(2, 0.5)
    return np.asarray((points - low) / (side or 1) + middle, dtype=np.float32)
