"""Pictures that strangers send: of three formats, and not too large when they are decoded."""

from __future__ import annotations

from mmx.extract.pictures.decoding import header
from mmx.extract.pictures.images import decode
from mmx.extract.reasons import ImageError, Reason

PIXELS, SIDE = 50_000_000, 20_000
WHOLE = 25_000_000  # pixels of a picture of which all are decoded: all but JPEGs in colours
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


def checked_picture(data: bytes) -> None:
    """Raises ImageError unless the first bytes are those of a JPEG, PNG or WebP within bounds.

    Pillow then takes it for nothing else, as it goes by these bytes too.
    """
    webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    if not (webp or data.startswith(SIGNATURES)):
        raise ImageError(Reason.NOT_AN_IMAGE, "not a JPEG, PNG or WebP")
    image = header(data)
    if image is None:
        decode(data)  # raises the reason
        raise ImageError(Reason.CORRUPT)
    shrinks = image.format in ("JPEG", "MPO") and image.mode == "RGB"
    if image.width * image.height > (PIXELS if shrinks else WHOLE) or max(image.size) > SIDE:
        raise ImageError(Reason.TOO_MANY_PIXELS, f"{image.width} x {image.height}")
