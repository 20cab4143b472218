"""What stage 1 needs of an encoder, and nothing more.

An encoder is a card (what it is), an image rule (how a picture becomes pixels) and up to three
functions from a batch to vectors. Every other hook of ``Encoder`` has a default.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
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

    def page_locked(self, pixels: np.ndarray) -> AbstractContextManager[None]:
        """Around the use of uint8 memory that other processes decode into."""
        ...


class Plain:
    """The default: one pass at a time, in memory of the CPU."""

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

    def page_locked(self, pixels: np.ndarray) -> AbstractContextManager[None]:
        """Around the use of memory that other processes decode into."""
        return nullcontext()


class Encoder:
    """An image, text or image-text encoder; a subclass says what it can.

    ``card`` and ``image_rule`` are needed, and the passes that ``card.dimensions`` names:
    ``encode_image`` is called only when "image" is in it, and so on. All passes return float32
    arrays of shape (B, d) and are called from one thread, or from ``hardware.lanes`` threads where
    that is more; ``tokenize`` is called from another. Pixels belong to the caller again after the
    pass.
    """

    card: EncoderCard
    image_rule: ImageRule | None  # None for text-only encoders
    hardware: Device = Plain()  # how a job divides the device
    takes: tuple[str, ...] = ()  # of one of the user's own: which options of its Request it uses
    files: tuple[Path, ...] = ()  # all files and folders it was opened from; empty: not known

    def encode_image(self, pixels: np.ndarray) -> np.ndarray:
        """(B, height, width, 3) uint8, prepared by ``image_rule`` → (B, d)."""
        raise NotImplementedError(f"{self.card.name} has no image pass")

    def tokenize(self, texts: list[str]) -> TextBatch:
        """B texts → tokens, with counts and truncation."""
        raise NotImplementedError(f"{self.card.name} has no tokenizer")

    def encode_text(self, batch: TextBatch) -> np.ndarray:
        """B tokenised texts → (B, d)."""
        raise NotImplementedError(f"{self.card.name} has no text pass")

    def encode_fused(self, pixels: np.ndarray, batch: TextBatch) -> np.ndarray:
        """B pairs of prepared picture and tokenised text → (B, d)."""
        raise NotImplementedError(f"{self.card.name} has no fused pass")

    def in_precision(self, precision: str) -> Encoder | None:
        """A copy that computes in ``precision``, which its card says.

        By default None: the precision of the card is the only one.
        """
        return None

    def compiled(self) -> Encoder:
        """A copy that has gone through a compiler.

        By default raises OptionError: there is none.
        """
        raise OptionError(f"{self.card.name} cannot be compiled; drop --compile")


def check_encoder(encoder: object) -> None:
    """Raises OptionError for an object that is not an Encoder."""
    if not isinstance(encoder, Encoder):
        raise OptionError(
            f"a {type(encoder).__name__} is not an encoder; a name such as 'clip' is expected, or "
            "a subclass of mmx.Encoder"
        )


def checked(vectors: np.ndarray, rows: int, dimension: int, encoder: str) -> np.ndarray:
    """The vectors, if they are (rows, dimension) and finite in every number.

    Raises EncoderError otherwise: the encoder is wrong then, not an item, and the job stops.
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
