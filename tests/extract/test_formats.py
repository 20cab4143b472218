"""Files that are something else than a picture that is read: the reason names the format."""

from __future__ import annotations

import zlib

import pytest

from tests.extract.files import reason

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>'


def boxed(brand: bytes, *more: bytes) -> bytes:
    """The first box of an ISO base media file."""
    body = b"ftyp" + brand + bytes(4) + b"".join(more)
    return (len(body) + 4).to_bytes(4, "big") + body + bytes(64)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (boxed(b"heic", b"mif1", b"heic"), "HEIC"),
        (boxed(b"mif1", b"heic"), "HEIC"),
        (boxed(b"isom", b"isom", b"mp41"), "video"),
        (boxed(b"qt  "), "video"),
        (boxed(b"M4A "), "audio"),
        (b"\xff\x0a" + bytes(50), "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(50), "JPEG XL"),
        (SVG.encode(), "SVG"),
        (f'\ufeff<?xml version="1.0"?>\n<!-- a --><!DOCTYPE svg>{SVG}'.encode(), "SVG"),
        (f'<?xml version="1.0"?>{SVG}'.encode("utf-16"), "SVG"),
        (b"%PDF-1.7\n", "PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript"),
        (b"8BPS\0\1" + bytes(50), "PSD"),
        (b"\x76\x2f\x31\x01" + bytes(50), "OpenEXR"),
        (b"\x1a\x45\xdf\xa3" + bytes(50), "video"),
        (b"RIFF\x40\0\0\0AVI LIST" + bytes(50), "video"),
        (b"RIFF\x40\0\0\0WAVEfmt " + bytes(50), "audio"),
        (b"<!DOCTYPE html>\n<html><body>404</body></html>", "HTML"),
        (b"\n <HTML><head></head><svg></svg></HTML>", "HTML"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML"),
        (b"<Error><Code>NoSuchKey</Code></Error>", "XML"),
        (b'{"error": "no such picture"}', "JSON"),
        (b"\x1f\x8b\x08" + zlib.compress(SVG.encode()), "archive"),
        (b"PK\x03\x04" + bytes(50), "archive"),
    ],
)
def test_the_format_is_named(data: bytes, name: str) -> None:
    assert reason(data) == f"format {name} is not read"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"RIFF\x40\0\0\0WEBPVP8 " + bytes(50), "corrupt image"),
        (boxed(b"avif", b"mif1"), "corrupt image"),  # is read where it is whole
        (b"II*\0" + bytes(50), "corrupt image"),
        (b"< no markup", "not an image"),
        (b"{ no JSON", "not an image"),
    ],
)
def test_what_is_no_other_format(data: bytes, said: str) -> None:
    assert reason(data) == said
