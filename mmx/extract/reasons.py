"""Why a picture or a text is not encoded: all reasons that a store of ours can hold.

A reason is a constant, so that ``group by image_status`` gives a row a kind of failure and not a
row a file. What belongs to one file (a byte count, a path, a host) is the ``detail`` of the
error: the summary of a run shows the first few of each reason.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Explained in docs/store.md, which a test compares with this list."""

    # The place
    NOT_FOUND = "file not found"
    SEVERAL = "several files"
    DIRECTORY = "a directory, not a file"
    NOT_REGULAR = "not a regular file"
    DENIED = "permission denied"
    UNREADABLE = "unreadable file"
    TOO_LARGE = "too large"
    NO_PLACE = "no place for pictures"
    NO_DRIVER = "no driver for this URL"
    UNREACHABLE = "object store unreachable"
    NO_ROW = "row unreadable"
    NO_MEMBER = "no member of a shard"
    NO_SHARD = "shard not found"
    SHARD_UNREADABLE = "shard unreadable"
    SHARD_SHORT = "shard broken off"
    DATA_URI = "broken data URI"

    # The web
    NO_ADDRESS = "no web address"
    BAD_REDIRECT = "redirected to no address"
    REDIRECTS = "too many redirects"
    PRIVATE = "private address; --allow-private"
    NO_HOST = "unknown host"
    REFUSED = "connection refused"
    LOST = "connection lost"
    UNTRUSTED = "certificate not trusted"
    NO_TLS = "no TLS connection"
    TIMEOUT = "timeout"
    GIVEN_UP = "host given up"
    GONE = "not found by the host"
    FORBIDDEN = "refused by the host"
    BUSY = "too many requests"
    SERVER_ERROR = "server error"
    ODD_ANSWER = "unexpected answer"

    # The bytes
    EMPTY = "empty file"
    NOT_AN_IMAGE = "not an image"
    TRUNCATED = "truncated image"
    CORRUPT = "corrupt image"
    TOO_MANY_PIXELS = "too many pixels"
    TIFF = "this kind of TIFF is not read"
    HEIC = "format HEIC is not read"
    AVIF = "format AVIF is not read"
    JXL = "format JPEG XL is not read"
    SVG = "format SVG is not read"
    PDF = "format PDF is not read"
    POSTSCRIPT = "format PostScript is not read"
    PSD = "format PSD is not read"
    EXR = "format OpenEXR is not read"
    VIDEO = "format video is not read"
    AUDIO = "format audio is not read"
    HTML = "format HTML is not read"
    XML = "format XML is not read"
    JSON = "format JSON is not read"
    ARCHIVE = "format archive is not read"


PASSING = (Reason.GIVEN_UP,)  # tried again by the next run, without --retry-failed


class ImageError(Exception):
    """Why one picture cannot be used; ``str()`` is the reason that goes into the store."""

    def __init__(self, reason: str, detail: object = "") -> None:
        """``detail`` is of this one picture; its first line is kept."""
        super().__init__(str(reason))
        lines = str(detail).strip().splitlines()
        self.detail = lines[0][:100] if lines else ""
