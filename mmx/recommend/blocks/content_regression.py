"""Each item's contents as a linear combination of the other items' contents, in closed form.

    S = argmin_B ‖Fᵀ − FᵀB‖² + λ ‖B‖²,  diag(B) = 0

is EASE on FFᵀ. With H = F (FᵀF + λI)⁻¹ Fᵀ the inverse of FFᵀ + λI is (I − H) / λ, so that
S_ij = H_ij / (1 − H_jj) off the diagonal: S is a product of two thin matrices but for its diagonal.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mmx.errors import RunError
from mmx.recommend.blocks.modalities import modality_weights
from mmx.recommend.features import Features


def side_by_side(weights: str, features: Mapping[str, Features]) -> np.ndarray:
    """F (items, d) float32: all modalities in columns, so that FFᵀ is their weighted sum.

    Each vector is centred on the catalogue's mean, scaled to norm 1 and weighted by the root of
    its modality's share; an item without a vector has zeros there. Raises OptionError as
    ``modality_weights`` does.
    """
    shares = modality_weights(weights, features)
    parts = [np.float32(w**0.5) * features[name].normalised().matrix for name, w in shares.items()]
    return np.concatenate(parts, axis=1)


def content_columns(vectors: np.ndarray, reg: float) -> np.ndarray:
    """T (d, items) float32 for F (items, d): S = F T off the diagonal, and FT is not 0 on it.

    Raises RunError when ``reg`` (λ) is too small for the inverse.
    """
    wide = vectors.astype(np.float64)
    try:
        solved = ridge(wide, reg)
    except np.linalg.LinAlgError:
        solved = np.full_like(wide.T, np.nan)
    rest = 1 - np.einsum("id,di->i", wide, solved)  # (items,) 1 − H_jj
    if not (rest > 0).all():
        raise RunError(f"--set content_reg={reg:g} is too small for these vectors; raise it")
    return np.asarray(solved / rest, dtype=np.float32)


def ridge(vectors: np.ndarray, reg: float) -> np.ndarray:
    """(FᵀF + λI)⁻¹ Fᵀ = Fᵀ (FFᵀ + λI)⁻¹ of F (items, d), by the smaller matrix → (d, items)."""
    items, d = vectors.shape
    if items < d:
        return np.linalg.solve(vectors @ vectors.T + reg * np.eye(items), vectors).T
    return np.linalg.solve(vectors.T @ vectors + reg * np.eye(d), vectors.T)
