"""What stage 1 asks of an encoder, and nothing more.

An encoder is a card (what it is), an image rule (how a picture becomes pixels) and up to
three functions from a batch to vectors. Anything with these attributes is one; there is no
base class to inherit from and no registry to enter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mmx.cache.card import EncoderCard
from mmx.errors import EncoderError
from mmx.extract.images import ImageRule


@dataclass(frozen=True)
class TextBatch:
    """Texts after the tokenizer. ``tokens`` is whatever the encoder's own passes take."""

    tokens: Any
    count: np.ndarray  # (B,) int32, tokens the encoder sees, special tokens included
    truncated: np.ndarray  # (B,) bool, True where the text was longer than the limit


class Encoder(Protocol):
    """An image, text or image-text encoder.

    ``encode_image`` is called only when "image" is in ``card.dimensions``, and so on. All
    passes return float32 arrays of shape (B, d) and are called from one thread;
    ``tokenize`` may be called from another.
    """

    card: EncoderCard
    image_rule: ImageRule | None  # None for text-only encoders

    def encode_image(self, pixels: np.ndarray) -> np.ndarray:
        """(B, height, width, 3) uint8, prepared by ``image_rule`` → (B, d)."""
        ...

    def tokenize(self, texts: list[str]) -> TextBatch:
        """B texts → tokens, with counts and truncation."""
        ...

    def encode_text(self, batch: TextBatch) -> np.ndarray:
        """B tokenised texts → (B, d)."""
        ...

    def encode_fused(self, pixels: np.ndarray, batch: TextBatch) -> np.ndarray:
        """B pairs of prepared picture and tokenised text → (B, d)."""
        ...


def checked(vectors: np.ndarray, rows: int, dimension: int, encoder: str) -> np.ndarray:
    """The vectors, if they are (rows, dimension) and finite in every number.

    Raises EncoderError otherwise: a wrong encoder stops the job, it is no fault of an item.
    """
    if vectors.shape != (rows, dimension):
        raise EncoderError(
            f"{encoder} returned shape {vectors.shape}, its card says ({rows}, {dimension})"
        )
    if not np.isfinite(vectors).all():
        raise EncoderError(
            f"{encoder} returned NaN or infinity; try --precision float32 or other --weights"
        )
    return vectors.astype(np.float32, copy=False)
