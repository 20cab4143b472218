"""JPEGs that need no look into their header: what Pillow would find there is known.

Pillow reads a header in Python, which takes as long as decoding a small picture, and holds
Python's lock. Most pictures of the web say no more in it than their size and that they are JFIF.
"""

from __future__ import annotations

START = b"\xff\xd8\xff\xe0"  # the start of a picture, and JFIF's own segment
JFIF = b"JFIF\0"
ICC = b"ICC_PROFILE\0"
COLOURS = 3
TABLES = (0xDB, 0xC4, 0xDD, 0xFE)  # quantisation, Huffman codes, restarts; and a comment
FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended and progressive
SCAN, PROFILE = 0xDA, 0xE2


def plain_jpeg(data: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG in three colours that is upright; None where this is not sure.

    Whether its pixels can be decoded is not looked at.
    """
    if data[:4] != START or data[6:11] != JFIF or data[4:6] != b"\0\x10":
        return None
    size, place, end = None, 20, len(data) - 4
    while place < end and data[place] == 0xFF:
        kind, length = data[place + 1], data[place + 2] << 8 | data[place + 3]
        if kind in FRAMES and size is None:
            size = _size(data[place + 4 : place + 2 + length])
            if size is None:
                return None
        elif kind == SCAN:
            return size
        elif kind == PROFILE:
            if data[place + 4 : place + 16] != ICC or length < 18:
                return None
        elif kind not in TABLES or length < 3:
            return None
        place += 2 + length
    return None


def _size(frame: bytes) -> tuple[int, int] | None:
    """Of a frame of three colours, 8 bits each."""
    if len(frame) != 6 + 3 * COLOURS or frame[0] != 8 or frame[5] != COLOURS:
        return None
    height, width = frame[1] << 8 | frame[2], frame[3] << 8 | frame[4]
    return (width, height) if width and height else None
