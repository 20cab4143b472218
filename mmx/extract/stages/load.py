"""One item's inputs: its image file and its text, or the reason why there is none.

Two steps, since one waits for a disk or a network and the other computes: ``read`` gets bytes
from a ``Source``, ``decode`` turns them into pixels.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mmx.cache.plan import content_hash
from mmx.cache.schema import MISSING, OK
from mmx.extract.pictures.decoding import pixels_of
from mmx.extract.pictures.images import ImageRule
from mmx.extract.reasons import ImageError, Reason
from mmx.extract.sources.source import Source
from mmx.extract.stages.read import Readers

if TYPE_CHECKING:
    from mmx.extract.pictures.jpegs import Jpegs

NAME = 80  # characters of what the table says of a picture, in a summary


@dataclass(slots=True)
class Read:
    """An item's inputs, not yet decoded."""

    image_status: str
    data: bytes | None  # the encoded picture when image_status is 'ok'
    text_status: str
    text: str | None
    hash: str
    detail: str = ""  # of this picture, where the status is a reason


@dataclass(slots=True)
class Loaded:
    """An item ready for the encoder."""

    image_status: str
    pixels: np.ndarray | None  # (s, s, 3) uint8 when image_status is 'ok'; not of a batch's items
    text_status: str
    text: str | None
    hash: str
    detail: str = ""


@dataclass(frozen=True)
class Loader:
    """Reads and decodes items for one encoder; safe to call from many threads."""

    source: Source
    image_rule: ImageRule | None  # None when the encoder takes no images
    takes_text: bool
    jpegs: Jpegs | None = None  # decodes what it can of several items at once

    def read(self, image: str | None, text: str | None) -> Read:
        """Read and hash one item. A bad item is a status, not an error."""
        status, data, detail = self._bytes(image)
        clean, text_status = clean_text(text) if self.takes_text else (None, MISSING)
        known = self._identity(image) or data
        return Read(status, data, text_status, clean, content_hash(known, clean), detail)

    def decode(self, item: Read) -> Loaded:
        """Decode and prepare one item. A bad item is a status, not an error."""
        status, pixels, detail = item.image_status, None, item.detail
        if item.data is not None and self.image_rule is not None:
            try:
                pixels = pixels_of(item.data, self.image_rule)
            except ImageError as error:
                status, detail = str(error), _said_of(item.detail, error)
        return Loaded(status, pixels, item.text_status, item.text, item.hash, detail)

    def decode_many(self, items: Sequence[Read]) -> Iterator[Loaded]:
        """``decode`` of each, JPEGs together where a device decodes them.

        Raises EncoderError when the device's decoder is not good enough.
        """
        made: Sequence[np.ndarray | None] = [None] * len(items)
        if self.jpegs is not None:
            made = self.jpegs.pixels([item.data for item in items])
        for item, pixels in zip(items, made, strict=True):
            if pixels is None:
                yield self.decode(item)
            else:
                yield Loaded(item.image_status, pixels, item.text_status, item.text, item.hash)

    def load(self, image: str | None, text: str | None) -> Loaded:
        """Both steps."""
        return self.decode(self.read(image, text))

    def load_ahead(
        self, items: Iterable[tuple[str | None, str | None]], depth: int
    ) -> Generator[Loaded]:
        """All of them in order, read by several threads ``depth`` items ahead.

        Close it before its end to leave the rest unread; what is being read then is not waited for.
        """
        queue: deque[Future[Loaded]] = deque()
        with Readers(self.source) as readers:
            for image, text in items:
                queue.append(readers.submit(image, self.load, image, text))
                if len(queue) >= depth:
                    yield queue.popleft().result()
            while queue:
                yield queue.popleft().result()

    def state(self, image: str | None, text: str | None) -> tuple[str, str | None]:
        """What shows whether an item has changed, without decoding it.

        Its content hash, and the status of a picture without bytes; None where there are bytes,
        or where reading them costs too much.
        """
        known = self._identity(image)
        if known is None:
            item = self.read(image, text)
            return item.hash, item.image_status if item.data is None else None
        return content_hash(known, clean_text(text)[0] if self.takes_text else None), None

    def _identity(self, image: str | None) -> bytes | None:
        """What is hashed in place of the picture; None for its own bytes."""
        if self.image_rule is None or image is None or not image.strip():
            return None
        return self.source.identity(image)

    def _bytes(self, image: str | None) -> tuple[str, bytes | None, str]:
        """Status, bytes, and what a summary says of this picture."""
        if self.image_rule is None or image is None or not image.strip():
            return MISSING, None, ""
        name = image if len(image) <= NAME else f"{image[: NAME - 1]}…"
        try:
            return OK, self.source(image), name
        except ImageError as error:
            whole = str(error) == Reason.GIVEN_UP  # of a host, not of one picture
            return str(error), None, error.detail if whole else _said_of(name, error)


def _said_of(name: str, error: ImageError) -> str:
    """A picture and what is wrong with it."""
    return f"{name}: {error.detail}" if error.detail else name


# Control characters but for the line feed, and lone surrogates, which no encoding can write.
_UNREADABLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
# What is visible: neither white space nor of Unicode's Default_Ignorable_Code_Point (soft hyphens,
# zero-width joiners and spaces, direction marks, variation selectors, fillers, tags).
_SHOWN = re.compile(
    "[^\\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def clean_text(text: str | None) -> tuple[str | None, str]:
    """The text an encoder sees and its status.

    Control characters (NUL, tabs, carriage returns …, but not line feeds) and lone surrogates
    become spaces, and white space at both ends is removed; all else stays as written: joiners
    and non-joiners, soft hyphens, non-breaking spaces, characters newer than this Python. Null
    is 'missing', and so is a text without a visible character: of white space and of characters
    that are never shown, such as zero-width ones.
    """
    if text is None:
        return None, MISSING
    clean = _UNREADABLE.sub(" ", text).strip()
    return (clean, OK) if _SHOWN.search(clean) else (None, MISSING)
