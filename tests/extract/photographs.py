"""Pictures like photographs, as JPEGs."""

from __future__ import annotations

import numpy as np
from PIL import Image

from tests.extract.files import encoded

SIZES = [(300, 800), (800, 300), (512, 500), (640, 480), (799, 301), (333, 777)]  # w, h
COSINE = 0.999  # of the vectors of two ways to decode, at least


def photograph(width: int, height: int, seed: int = 0) -> Image.Image:
    """Soft light, an edge and fine noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    picture = np.stack([128 + 70 * np.sin(x / (40 + 9 * c) + y / 60) for c in range(3)], 2)
    coarse = random.normal(0, 25, (height // 8 + 1, width // 8 + 1, 3))
    picture += coarse.repeat(8, 0).repeat(8, 1)[:height, :width]
    picture[x + y > (width + height) // 2] -= 60
    picture += random.normal(0, 4, (height, width, 1))
    return Image.fromarray(picture.clip(0, 255).astype(np.uint8))


def jpeg(width: int, height: int, **options: object) -> bytes:
    return encoded(photograph(width, height), "JPEG", quality=90, **options)
