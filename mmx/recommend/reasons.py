"""Why an item is shown: which of the user's items it is closest to, and by which modality."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from mmx.recommend.diversity import on_grid, units


class Reasons(NamedTuple):
    """Of each of k items the closest of h others; -1 and NaN where nothing can be compared."""

    places: np.ndarray  # (k,) int64 place among the h
    modalities: np.ndarray  # (k,) int64 place among the modalities
    similarities: np.ndarray  # (k,) float32 cosines


def closest(
    shown: Mapping[str, np.ndarray], history: Mapping[str, np.ndarray], same: np.ndarray
) -> Reasons:
    """The highest cosine of each of k items with h others, in any modality.

    ``shown`` has (k, d) vectors by modality, ``history`` (h, d) of the same modalities; zero where
    an item has none. ``same`` (k, h) bool says which pairs are one item, and no reason. Of equal
    cosines the first modality counts, then the first of the others.
    """
    k, h = same.shape
    found = np.full((k, len(shown), h), -np.inf)
    for number, (name, vectors) in enumerate(shown.items()):
        mine, theirs = units(vectors), units(history[name])
        alike = on_grid(mine @ theirs.T)
        there = mine.any(axis=1, keepdims=True) & theirs.any(axis=1) & ~same
        found[:, number] = np.where(there, alike, -np.inf)
    flat = found.reshape(k, len(shown) * h)
    if not flat.shape[1]:
        none = np.full(k, -1)
        return Reasons(none, none, np.full(k, np.nan, np.float32))
    best = flat.argmax(1)
    values = flat[np.arange(k), best]
    known = np.isfinite(values)
    return Reasons(
        np.where(known, best % h, -1),
        np.where(known, best // h, -1),
        np.where(known, values, np.nan).astype(np.float32),
    )
