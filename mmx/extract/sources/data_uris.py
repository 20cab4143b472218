"""Pictures written into the table itself: ``data:image/png;base64,iVBORw0KGgo…`` (RFC 2397)."""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from mmx.extract.reasons import ImageError, Reason

BROKEN_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")


def is_data(image: str) -> bool:
    """Whether it is a data URI."""
    return image.lstrip()[:5].lower() == "data:"


def read_data(image: str, most: int) -> bytes:
    """The bytes in a data URI, at most ``most`` of them. Raises ImageError with the reason."""
    head, comma, body = image.strip().partition(",")
    if not comma:
        raise ImageError(Reason.DATA_URI, "no comma")
    if len(body) > 3 * most:  # percent-encoded bytes take three characters
        raise ImageError(Reason.TOO_LARGE, f"{len(body)} characters")
    if BROKEN_PERCENT.search(body) or not body.isascii():
        raise ImageError(Reason.DATA_URI, "a character that is not encoded")
    data = unquote_to_bytes(body)
    if head.lower().rstrip().endswith(";base64"):
        data = _base64(data)
    if len(data) > most:
        raise ImageError(Reason.TOO_LARGE, f"{len(data)} bytes")
    return data


def _base64(data: bytes) -> bytes:
    """Strict, except that white space and missing padding are allowed, as in browsers."""
    data = b"".join(data.split()).rstrip(b"=")
    try:
        return base64.b64decode(data + b"=" * (-len(data) % 4), validate=True)
    except binascii.Error as error:
        raise ImageError(Reason.DATA_URI, error) from None
