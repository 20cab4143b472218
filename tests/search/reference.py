"""Search as a loop in float64, for tests."""

from __future__ import annotations

import hashlib
import math

import numpy as np


def order_of(name: str) -> int:
    """The place of an id among equal scores."""
    digest = hashlib.blake2b(name.encode(), digest_size=8, key=b"0").digest()
    return int.from_bytes(digest, "little")


def cosine(a: list[float], b: list[float]) -> float:
    """Of two vectors that are not zero, rounded to 2 ** -26 and float32."""
    product = math.fsum(x * y for x, y in zip(a, b, strict=True))
    norms = math.sqrt(math.fsum(x * x for x in a)) * math.sqrt(math.fsum(y * y for y in b))
    return float(np.float32(round(product / norms * 2**26) / 2**26))


def usable(vector: list[float] | None) -> bool:
    """Whether there is a direction to compare."""
    return vector is not None and any(vector) and all(map(math.isfinite, vector))


def nearest(
    items: dict[str, list[float] | None], query: list[float], k: int, among: set[str] | None = None
) -> list[tuple[str, float]]:
    """The k best of the items, or of those in ``among``."""
    rows = [
        (-cosine(vector, query), order_of(name), name)
        for name, vector in items.items()
        if usable(vector) and (among is None or name in among)
    ]
    return [(name, -negative) for negative, _, name in sorted(rows)[:k]]
