"""Pictures of more than 8 bits to 8 bits, by what white is in them.

    16 bits           65535; the high byte, right for both ways of widening, v * 257 and v << 8
    12 bits (TIFF)    4095
    signed 16 (TIFF)  32767
    32 bits (TIFF)    255 or 65535 where no value is larger, else 4294967295, signed 2147483647
    float             1 where no value is above 2, else 255

Numbers of 32 bits are a guess from the values, since programs widen pictures of 8 and 16 bits to
them without scaling. Values below black or above white are clipped, and NaN is black. TIFFs in
which white is zero are inverted.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

BITS, MEANING, KIND = 258, 262, 339  # TIFF tags: BitsPerSample, Photometric, SampleFormat
SIGNED, WHITE_IS_ZERO = 2, 0


def is_wide(image: Image.Image) -> bool:
    """Whether its grey has more than 8 bits."""
    return image.mode == "F" or image.mode.startswith("I")


def narrowed(image: Image.Image) -> Image.Image:
    """A wide grey picture as one of 8 bits; any other as it is."""
    if not is_wide(image):
        return image
    tags = getattr(image, "tag_v2", {})
    values = np.asarray(image)
    grey = _of_floats(values) if values.dtype.kind == "f" else _of_numbers(values, image, tags)
    return Image.fromarray(255 - grey if tags.get(MEANING) == WHITE_IS_ZERO else grey)


def _of_floats(values: np.ndarray) -> np.ndarray:
    """(h, w) float → uint8."""
    finite = values[np.isfinite(values)]
    white = 1.0 if not len(finite) or finite.max() <= 2 else 255.0
    levels = np.nan_to_num(values.astype(np.float64) * (255 / white), nan=0.0)
    return np.rint(levels.clip(0, 255)).astype(np.uint8)


def _of_numbers(values: np.ndarray, image: Image.Image, tags: dict[int, object]) -> np.ndarray:
    """(h, w) integers → uint8."""
    bits, signed = _first(tags.get(BITS)), _first(tags.get(KIND)) == SIGNED
    if bits == 32:
        values = values.astype(np.int32).view(np.int32 if signed else np.uint32)
        bits = next((n for n in (8, 16) if values.max(initial=0) < 1 << n), 31 if signed else 32)
    else:  # 12 bits by the tag, all else comes as 16
        bits = 12 if bits == 12 else 15 if signed else 16
    return (values.astype(np.int64).clip(0, (1 << bits) - 1) >> (bits - 8)).astype(np.uint8)


def _first(value: object) -> object:
    return value[0] if isinstance(value, tuple) and value else value
