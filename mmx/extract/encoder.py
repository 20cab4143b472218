"""What stage 1 asks of an encoder, and nothing more.

An encoder is a card (what it is), an image rule (how a picture becomes pixels) and up to
three functions from a batch to vectors. Anything with these attributes is one; there is no
base class to inherit from and no registry to enter.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mmx.cache.card import EncoderCard
from mmx.errors import EncoderError, OptionError
from mmx.extract.pictures.images import ImageRule


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
    ``tokenize`` is called from another. Pixels belong to the caller again after the pass.

    An encoder may also have what the functions below look for, and nothing else does:

    - ``hardware: Device``: how a job divides the device; by default ``Plain``. Where its
      ``lanes`` are more than one, passes are called from that many threads;
    - ``in_precision(precision: str) -> Encoder``: a copy that computes in another one, which
      its card says; by default the precision of the card is the only one;
    - ``compiled() -> Encoder``: a copy that has gone through a compiler; by default --compile
      is refused.
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


class Device(Protocol):
    """How a job divides the device of an encoder."""

    @property
    def lanes(self) -> int:
        """Passes at once, at least 1."""
        ...

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """Items in a batch that are worth a trial, the usual number first."""
        ...

    @property
    def fast_precision(self) -> str:
        """What ``--precision auto`` tries: "float32", "bfloat16" or "float16"."""
        ...

    @property
    def device(self) -> Any:
        """As torch names it; decodes JPEGs, if the image rule's ``decode`` is "gpu"."""
        ...

    def session(self) -> AbstractContextManager[int]:
        """Around a job: how many lanes it has."""
        ...

    def pixel_buffer(self, shape: tuple[int, ...]) -> np.ndarray:
        """uint8 memory of this shape that pixels are decoded into."""
        ...


class Plain:
    """The hardware of an encoder that says nothing of it: one pass at a time."""

    lanes: int = 1
    batch_sizes: tuple[int, ...] = (32,)
    fast_precision: str = "float32"
    device: str = "cpu"

    def session(self) -> AbstractContextManager[int]:
        """Around a job: how many lanes it has."""
        return nullcontext(self.lanes)

    def pixel_buffer(self, shape: tuple[int, ...]) -> np.ndarray:
        """uint8 memory that pixels are decoded into."""
        return np.empty(shape, dtype=np.uint8)


def hardware_of(encoder: Encoder) -> Device:
    """The encoder's ``hardware``, or ``Plain``."""
    return getattr(encoder, "hardware", None) or Plain()


def in_precision(encoder: Encoder, precision: str) -> Encoder | None:
    """A copy that computes in ``precision``; None where the encoder has only its own."""
    make: Callable[[str], Encoder] | None = getattr(encoder, "in_precision", None)
    return make(precision) if make else None


def compiled(encoder: Encoder) -> Encoder:
    """A copy that has gone through a compiler. Raises OptionError where there is none."""
    make: Callable[[], Encoder] | None = getattr(encoder, "compiled", None)
    if make is None:
        raise OptionError(f"{encoder.card.name} cannot be compiled; drop --compile")
    return make()


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
