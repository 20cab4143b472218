"""Two words for a check, each with one line that says what is wrong."""

from __future__ import annotations

import numpy as np


def expect(sound: object, said: str) -> None:
    """Raise AssertionError unless ``sound``; ``assert`` is left out under ``python -O``."""
    if not sound:
        raise AssertionError(said)


def expect_close(
    found: np.ndarray, wanted: np.ndarray, what: str, *, rtol: float = 0.0, atol: float = 0.0
) -> None:
    """Raise AssertionError unless two arrays are equal, or as near as numpy's ``isclose`` says."""
    expect(found.shape == wanted.shape, f"{what}: the shapes are {found.shape}, {wanted.shape}")
    far = ~np.isclose(found, wanted, rtol=rtol, atol=atol, equal_nan=True)
    if far.any():
        largest = float(np.nanmax(np.abs(found[far] - wanted[far])))
        raise AssertionError(
            f"{what}: {far.sum()} of {far.size} numbers differ, by up to {largest:g}"
        )
