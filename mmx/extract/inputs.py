"""One item's inputs: its image file and its text, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmx.cache.plan import content_hash
from mmx.cache.schema import MISSING, OK
from mmx.extract.images import ImageError, ImageRule, decode, prepare


@dataclass(frozen=True)
class Loaded:
    """An item ready for the encoder."""

    image_status: str
    pixels: np.ndarray | None  # (s, s, 3) uint8 when image_status is 'ok'
    text_status: str
    text: str | None
    hash: str


@dataclass(frozen=True)
class Loader:
    """Reads items of one dataset directory for one encoder; safe to call from many threads."""

    directory: Path
    image_rule: ImageRule | None  # None when the encoder takes no images
    takes_text: bool

    def load(self, image: str | None, text: str | None) -> Loaded:
        """Read, hash, decode and prepare one item. Never raises for what the item is."""
        image_status, data = self._read(image)
        clean, text_status = clean_text(text) if self.takes_text else (None, MISSING)
        digest = content_hash(data, clean)
        pixels = None
        if data is not None and self.image_rule is not None:
            try:
                pixels = prepare(decode(data), self.image_rule)
            except ImageError as error:
                image_status = str(error)
        return Loaded(image_status, pixels, text_status, clean, digest)

    def hash(self, image: str | None, text: str | None) -> str:
        """The content hash alone, without decoding."""
        clean = clean_text(text)[0] if self.takes_text else None
        return content_hash(self._read(image)[1], clean)

    def _read(self, image: str | None) -> tuple[str, bytes | None]:
        if self.image_rule is None or image is None or not image.strip():
            return MISSING, None
        try:
            return OK, read_bytes(self.directory, image)
        except ImageError as error:
            return str(error), None


def read_bytes(directory: Path, image: str) -> bytes:
    """The encoded picture. Raises ImageError with the reason why it cannot be read."""
    if "://" in image:
        raise ImageError("remote image: download it and store its path")
    try:
        return (directory / image).read_bytes()
    except FileNotFoundError:
        raise ImageError("file not found") from None
    except IsADirectoryError:
        raise ImageError("a directory, not a file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageError(f"unreadable: {reason.lower()}") from error


def clean_text(text: str | None) -> tuple[str | None, str]:
    """The text an encoder sees and its status: NUL and other controls become spaces.

    Null is 'missing', and so is a text of nothing but white space.
    """
    if text is None:
        return None, MISSING
    clean = "".join(c if c.isprintable() or c == "\n" else " " for c in text).strip()
    return (clean, OK) if clean else (None, MISSING)
