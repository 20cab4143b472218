"""A picture made small, to be shown: decoded, scaled and written again as a JPEG.

Never the bytes that came in: what else a file carries (scripts, a position, a second format) is
left behind.
"""

from __future__ import annotations

import io

from PIL import Image

from mmx.bounds import check, whole
from mmx.extract.pictures.decoding import header
from mmx.extract.pictures.images import as_rgb, decode, upright
from mmx.extract.reasons import ImageError, Reason

SIDES = whole(16, 1024)  # px
SHOWN_PIXELS = 50_000_000  # of a picture that is decoded to be shown
QUALITY = 85
MARGIN = 2  # a JPEG is decoded at this many times its new size, at least


def thumbnail(raw: bytes, side: int, *, pixels: int = SHOWN_PIXELS) -> bytes:
    """A JPEG whose longer side is at most ``side`` px; a smaller picture keeps its size.

    Raises ImageError for what is not a picture or has more than ``pixels`` pixels, OptionError
    for a side out of bounds.
    """
    check("side ", side, SIDES)
    image = small(raw, side, pixels)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    bare = Image.new("RGB", image.size)  # without EXIF, profiles and comments
    bare.paste(image)
    out = io.BytesIO()
    bare.save(out, "JPEG", quality=QUALITY, progressive=True)
    return out.getvalue()


def small(raw: bytes, side: int, pixels: int = SHOWN_PIXELS) -> Image.Image:
    """The picture upright in RGB; of a large JPEG less than all its pixels. Raises ImageError."""
    image = header(raw)
    if image is None:
        return decode(raw)  # raises the reason
    if image.width * image.height > pixels:
        raise ImageError(Reason.TOO_MANY_PIXELS, f"{image.width} x {image.height}")
    if image.format not in ("JPEG", "MPO") or image.mode != "RGB":
        return decode(raw)
    image.draft("RGB", (MARGIN * side, MARGIN * side))
    try:
        image.load()
    except Exception:
        return decode(raw)  # raises the reason
    return as_rgb(upright(image))
