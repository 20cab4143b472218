"""Pictures of more than 8 bits against numpy: what is white in the file is white here."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from tests.extract.files import encoded, pixels, reason


def tiff(values: np.ndarray, *, kind: int, meaning: int = 1, bits: int | None = None) -> bytes:
    """An uncompressed grey TIFF written by hand: (h, w) numbers in their own byte order.

    ``kind`` is SampleFormat (1 unsigned, 2 signed, 3 float), ``meaning`` is 0 where white is 0.
    """
    big = values.dtype.byteorder == ">"
    order = ">" if big else "<"
    body = values.tobytes() if bits is None else packed(values)
    height, width = values.shape
    tags = {256: width, 257: height, 258: bits or values.itemsize * 8, 259: 1, 262: meaning,
            273: 8, 277: 1, 278: height, 279: len(body), 339: kind}  # fmt: skip
    directory = struct.pack(f"{order}H", len(tags))
    for tag, value in tags.items():
        directory += struct.pack(f"{order}HHII", tag, 4, 1, value)
    body += b"\0" * (len(body) % 2)
    start = b"MM\0*" if big else b"II*\0"
    return start + struct.pack(f"{order}I", 8 + len(body)) + body + directory + bytes(4)


def packed(values: np.ndarray) -> bytes:
    """12-bit numbers, two in three bytes; an even number of them in a row."""
    bits = ((values[..., None] >> np.arange(11, -1, -1)) & 1).astype(np.uint8)
    return np.packbits(bits.reshape(len(values), -1), axis=1).tobytes()


def grey(data: bytes) -> list[list[int]]:
    found = pixels(data)
    assert (found == found[..., :1]).all()
    return found[..., 0].tolist()


LEVELS = np.arange(256).reshape(16, 16)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("kind", "code", "most"),
    [("u2", 1, 2**16 - 1), ("i2", 2, 2**15 - 1), ("i4", 2, 2**31 - 1), ("u4", 1, 2**32 - 1)],
)
def test_numbers_of_16_and_32_bits(order: str, kind: str, code: int, most: int) -> None:
    if (order, kind) == (">", "u4"):
        assert reason(tiff(LEVELS.astype(">u4"), kind=1)) == "this kind of TIFF is not read"
        return
    values = np.ceil(LEVELS / 256 * (most + 1)).astype(f"{order}{kind}")  # the least of each level
    values[-1, -1] = most
    assert grey(tiff(values, kind=code)) == LEVELS.tolist()


@pytest.mark.parametrize("white", [255, 65535])
@pytest.mark.parametrize(("kind", "code"), [("i4", 2), ("u4", 1)])
def test_8_and_16_bits_kept_in_32(white: int, kind: str, code: int) -> None:
    values = (LEVELS * (white // 255)).astype(f"<{kind}")
    assert grey(tiff(values, kind=code)) == LEVELS.tolist()


def test_int32_as_pillow_writes_it() -> None:
    values = np.array([[0, 1 << 30, 2**31 - 1]], dtype=np.int32)
    assert grey(encoded(Image.fromarray(values), "TIFF")) == [[0, 128, 255]]


def test_12_bits() -> None:
    assert grey(tiff(LEVELS * 16 + 15, kind=1, bits=12)) == LEVELS.tolist()


def test_below_black_and_above_white() -> None:
    values = np.array([[-5, -(2**31), 70000, 2**31 - 1]], dtype="<i4")
    assert grey(tiff(values, kind=2)) == [[0, 0, 0, 255]]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("white", [1, 255])
def test_floats(order: str, white: int) -> None:
    values = (LEVELS / 255 * white).astype(f"{order}f4")
    assert grey(tiff(values, kind=3)) == LEVELS.tolist()


def test_odd_floats() -> None:
    odd = np.array([[np.nan, np.inf, -np.inf, -0.2, 1.2, 0.5]], dtype="<f4")
    assert grey(tiff(odd, kind=3)) == [[0, 255, 0, 0, 255, 128]]
    level = np.array([[0, 128, 300, -5]], dtype="<f4")
    assert grey(tiff(level, kind=3)) == [[0, 128, 255, 0]]
    nothing = np.full((2, 2), np.nan, dtype="<f4")
    assert grey(tiff(nothing, kind=3)) == [[0, 0], [0, 0]]


@pytest.mark.parametrize("kind", ["u2", "f4"])
def test_where_white_is_zero(kind: str) -> None:
    values = (LEVELS * 257 if kind == "u2" else LEVELS / 255).astype(f"<{kind}")
    code = 1 if kind == "u2" else 3
    assert grey(tiff(values, kind=code, meaning=0)) == (255 - LEVELS).tolist()


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_16_bits_are_turned_too(form: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray((LEVELS * 257).astype(np.uint16)), form, exif=exif)
    assert grey(data) == np.rot90(LEVELS, 2 if orientation == 3 else 3).tolist()
