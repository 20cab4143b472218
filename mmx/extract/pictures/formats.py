"""Formats that are recognised by their first bytes and not read."""

from __future__ import annotations

from mmx.extract.reasons import Reason

HEAD = 4096  # bytes among which the first tag of a text is looked for

SIGNATURES = (
    (b"\xff\x0a", Reason.JXL),
    (b"\0\0\0\x0cJXL ", Reason.JXL),
    (b"%PDF", Reason.PDF),
    (b"%!PS", Reason.POSTSCRIPT),
    (b"\xc5\xd0\xd3\xc6", Reason.POSTSCRIPT),
    (b"8BPS", Reason.PSD),
    (b"\x76\x2f\x31\x01", Reason.EXR),
    (b"\x1a\x45\xdf\xa3", Reason.VIDEO),  # Matroska, WebM
    (b"\0\0\x01\xba", Reason.VIDEO),  # MPEG
    (b"\0\0\x01\xb3", Reason.VIDEO),
    (b"FLV\x01", Reason.VIDEO),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Reason.VIDEO),  # ASF
    (b"ID3", Reason.AUDIO),
    (b"OggS", Reason.AUDIO),
    (b"fLaC", Reason.AUDIO),
    (b"\x1f\x8b\x08", Reason.ARCHIVE),  # gzip
    (b"PK\x03\x04", Reason.ARCHIVE),
    (b"7z\xbc\xaf\x27\x1c", Reason.ARCHIVE),
    (b"Rar!\x1a\x07", Reason.ARCHIVE),
    (b"BZh", Reason.ARCHIVE),
    (b"\xfd7zXZ\0", Reason.ARCHIVE),
    (b"\x28\xb5\x2f\xfd", Reason.ARCHIVE),  # Zstandard
)
RIFF = {b"AVI ": Reason.VIDEO, b"WAVE": Reason.AUDIO}
HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
TAGS = (("<svg", Reason.SVG), ("<!doctype html", Reason.HTML), ("<html", Reason.HTML))


def unread(data: bytes) -> Reason | None:
    """The reason for a format that is known and not read; None for any other bytes."""
    for start, reason in SIGNATURES:
        if data.startswith(start):
            return reason
    if data[:4] == b"RIFF":
        return RIFF.get(data[8:12])
    if data[4:8] == b"ftyp":
        return _boxes(data)
    return _text(data[:HEAD])


def _boxes(data: bytes) -> Reason:
    """The brands of an ISO base media file say what is in it."""
    size = min(int.from_bytes(data[:4], "big"), HEAD)
    brands = [data[8:12], *(data[n : n + 4] for n in range(16, size, 4))]
    if b"avif" in brands or b"avis" in brands:
        return Reason.AVIF
    if any(brand in HEIF for brand in brands):
        return Reason.HEIC
    return Reason.AUDIO if data[8:11] == b"M4A" else Reason.VIDEO


def _text(head: bytes) -> Reason | None:
    """Markup, perhaps after a comment or a document type; or a JSON answer."""
    wide = head[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = head.decode("utf-16" if wide else "utf-8", errors="ignore")
    text = text.lstrip("\ufeff \t\r\n").lower()
    if text.startswith("<"):
        places = {text.find(tag): reason for tag, reason in TAGS if tag in text}
        if places:
            return places[min(places)]
        return Reason.XML if text.startswith("<?xml") or "</" in text else None
    return Reason.JSON if text[:1] in ("{", "[") and '"' in text else None
