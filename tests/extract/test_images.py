"""Hostile and odd picture files: each gives the right pixels or the right reason."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from mmx.extract.pictures.images import decode
from mmx.extract.reasons import ImageError
from tests.extract.files import (
    BLUE,
    GREEN,
    QUARTERS,
    RED,
    WHITE,
    encoded,
    noise,
    pixels,
    png,
    reason,
)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM", "WEBP", "AVIF", "JPEG2000"])
def test_lossless_formats_keep_every_pixel(form: str) -> None:
    picture = noise(20, 30)
    options = {"lossless": True} if form == "WEBP" else {}
    if form == "AVIF":
        options = {"quality": 100, "subsampling": "4:4:4"}
    difference = np.abs(pixels(encoded(Image.fromarray(picture), form, **options)) - picture * 1.0)
    assert difference.max() <= (3 if form == "AVIF" else 0)  # AVIF goes through YCbCr


def test_empty_file() -> None:
    assert reason(b"") == "empty file"


@pytest.mark.parametrize("data", [b"hello, I am a text file", b"\x00" * 100, bytes(range(256)) * 9])
def test_not_an_image(data: bytes) -> None:
    assert reason(data) == "not an image"


def test_postscript_is_never_run() -> None:
    assert reason(encoded(Image.fromarray(QUARTERS), "EPS")) == "format PostScript is not read"


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.9])
def test_a_cut_file_is_refused(form: str, part: float) -> None:
    data = encoded(Image.fromarray(noise(64, 64)), form)
    assert reason(data[: int(len(data) * part)]) in ("truncated image", "corrupt image")


def test_a_cut_jpeg_says_truncated() -> None:
    data = encoded(Image.fromarray(noise(64, 64)), "JPEG")
    assert reason(data[: len(data) // 2]) == "truncated image"


def test_corrupt_bytes_are_told_from_a_cut_file() -> None:
    data = bytearray(encoded(Image.fromarray(noise(64, 64))))
    data[len(data) // 2] ^= 0xFF  # the checksum of the pixel data no longer fits
    assert reason(bytes(data)) == "corrupt image"


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_decode_raises_only_image_errors_on_flipped_bytes() -> None:
    generator = np.random.default_rng(1)
    refused = 0
    for form in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "ICO", "JPEG2000", "AVIF"):
        clean = encoded(Image.fromarray(noise(32, 32)), form)
        for _ in range(20):
            data = np.frombuffer(clean, dtype=np.uint8).copy()
            data[generator.integers(0, min(len(data), 400), 8)] = generator.integers(0, 256, 8)
            try:
                decode(data.tobytes())
            except ImageError:
                refused += 1
    assert refused > 20


def test_cmyk() -> None:
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # full magenta and yellow: red
    assert (pixels(encoded(cmyk, "TIFF")) == RED).all()
    assert np.abs(pixels(encoded(cmyk, "JPEG", quality=95)) - np.array(RED) * 1.0).max() <= 3


def palette_picture() -> Image.Image:
    image = Image.new("P", (2, 2))
    image.putpalette([*RED, *GREEN, *BLUE, *WHITE])
    image.putdata([0, 1, 2, 3])
    return image


@pytest.mark.parametrize("form", ["PNG", "GIF", "BMP", "TIFF"])
def test_palette(form: str) -> None:
    assert (pixels(encoded(palette_picture(), form)) == QUARTERS).all()


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_palette_with_a_transparent_colour(form: str) -> None:
    expected = QUARTERS.copy()
    expected[0, 1] = WHITE  # green is see-through, so the white behind it shows
    assert (pixels(encoded(palette_picture(), form, transparency=1)) == expected).all()


def test_palette_with_an_alpha_of_its_own_for_each_colour() -> None:
    data = encoded(palette_picture(), transparency=bytes([255, 0, 128, 255]))
    expected = QUARTERS.copy()
    expected[0, 1], expected[1, 0] = WHITE, (127, 127, 255)
    assert (pixels(data) == expected).all()


def test_grey_and_colour_key_transparency() -> None:
    grey = Image.fromarray(np.array([[0, 90], [180, 255]], dtype=np.uint8))
    assert pixels(encoded(grey, transparency=90))[..., 0].tolist() == [[0, 255], [180, 255]]
    colour = encoded(Image.fromarray(QUARTERS), transparency=BLUE)
    assert pixels(colour)[1, 0].tolist() == list(WHITE)


def test_rgba_lies_over_white() -> None:
    rgba = np.zeros((1, 3, 4), dtype=np.uint8)
    rgba[0] = [(255, 0, 0, 255), (255, 0, 0, 0), (255, 0, 0, 51)]
    assert pixels(encoded(Image.fromarray(rgba))).tolist() == [
        [[255, 0, 0], [255] * 3, [255, 204, 204]]
    ]


def test_grey_with_alpha_lies_over_white() -> None:
    grey_alpha = Image.new("LA", (3, 1))
    grey_alpha.putdata([(100, 255), (100, 0), (0, 102)])
    assert pixels(encoded(grey_alpha))[0, :, 0].tolist() == [100, 255, 153]


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM", "JPEG2000"])
@pytest.mark.parametrize("widen", [257, 256])
def test_16_bit_grey_becomes_its_8_bit_original(form: str, widen: int) -> None:
    original = np.arange(256, dtype=np.uint16).reshape(16, 16)
    data = encoded(Image.fromarray(original * np.uint16(widen)), form)
    assert (pixels(data) == original[..., None]).all()


def test_16_bit_colour_becomes_its_8_bit_original() -> None:
    original = noise(5, 7).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in original * np.array(257, dtype=">u2"))
    data = png(width=7, height=5, depth=16, colour=2, body=zlib.compress(rows))
    assert (pixels(data) == original).all()


def test_1_bit() -> None:
    image = Image.fromarray(np.array([[True, False], [False, True]]))
    assert image.mode == "1"
    assert pixels(encoded(image))[..., 0].tolist() == [[255, 0], [0, 255]]


def test_lab_colours() -> None:
    image = Image.new("LAB", (4, 4), (255, 128, 128))  # full lightness, no colour
    assert pixels(encoded(image, "TIFF")).min() >= 253


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_the_first_frame_of_an_animation(form: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN, BLUE)]
    data = encoded(frames[0], form, save_all=True, append_images=frames[1:], duration=50)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert np.abs(pixels(data) - np.array(RED) * 1.0).max() <= 3  # lossy WebP and AVIF


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(orientation: int, form: str) -> None:
    blocks = QUARTERS.repeat(8, 0).repeat(16, 1)  # (16, 32, 3), no symmetry
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": 0} if form == "JPEG" else {}
    if form == "WEBP":
        options = {"lossless": True}
    data = encoded(Image.fromarray(blocks), form, exif=exif, **options)
    expected = upright(blocks, orientation)
    assert np.abs(pixels(data) - expected * 1.0).max() <= (2 if form == "JPEG" else 0)
    reference = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert (pixels(data) == np.asarray(reference.convert("RGB"))).all()


def upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """What EXIF 2.3 says of each value, on arrays: rows and columns begin where it names."""
    if orientation >= 5:
        array = array.transpose(1, 0, 2)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return array[::rows, ::columns]


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0rubbish", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"]
)
def test_broken_exif_does_not_cost_the_picture(exif: bytes) -> None:
    data = encoded(Image.new("RGB", (8, 8), RED), "JPEG", exif=exif, quality=100)
    assert np.abs(pixels(data) - np.array(RED) * 1.0).max() <= 2


def test_orientation_out_of_range_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    assert (pixels(encoded(Image.fromarray(QUARTERS), exif=exif)) == QUARTERS).all()
