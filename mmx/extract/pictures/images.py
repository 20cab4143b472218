"""A picture file to the pixels an encoder expects, or the reason why not.

Decoding goes through Pillow. A picture is what a person would see: EXIF rotation applied,
the first frame of an animation, transparency over white, more than 8 bits scaled to 8
(mmx.extract.pictures.shades).
"""

from __future__ import annotations

import io
import warnings
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

from mmx.errors import one_of
from mmx.extract.pictures.formats import unread
from mmx.extract.pictures.plain import plain_jpeg
from mmx.extract.pictures.shades import narrowed
from mmx.extract.reasons import ImageError, Reason

Decode = Literal[
    "exact", "fast", "gpu"
]  # how a picture becomes pixels, see mmx.extract.pictures.decoding

MAX_PIXELS = 178_956_970  # Pillow's own bomb limit: a 24-bit picture of half a gigabyte
SMALL = 1 << 16  # pixels, above which the time for a header in Python does not matter
MAX_SCALED = 16_000_000  # pixels; of a longer picture only the part that stays is resized

# Formats with a signature of their own. Pillow also opens EPS by running Ghostscript on it,
# which a catalogue from elsewhere must not make this machine do.
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO")

SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")

INTERPOLATION = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

ORIENTATION = {  # the EXIF tag's value → what puts the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Pillow warns of large pictures, odd EXIF and odd TIFF tags; all of these are handled below.
# Set once here, since warnings.catch_warnings is not safe in the threads that decode.
warnings.filterwarnings("ignore", module=r"PIL\..*")


@dataclass(frozen=True)
class ImageRule:
    """How a decoded picture becomes the encoder's input.

    ``mode`` says how it is resized: "crop" brings the shorter side to ``resize`` px and keeps
    the aspect ratio, "pad" does so with the longer side, "squash" brings both sides to
    ``resize`` px without keeping it. The centre of ``size`` px is then cut out; where the
    picture is smaller, the rest is filled with ``fill``.
    """

    size: int  # px, side of the square the encoder sees
    resize: int  # px, target of the resize
    mode: Literal["crop", "squash", "pad"]
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"]
    mean: tuple[float, float, float]  # of RGB in [0, 1]
    std: tuple[float, float, float]
    fill: int | tuple[int, int, int] = 0  # grey or RGB in 0..255, around a picture too small
    # Where half a pixel is left over: torchvision and timm round to even, transformers down.
    centre: Literal["even", "down"] = "even"
    decode: Decode = "exact"

    def __post_init__(self) -> None:
        one_of("mode", self.mode, ("crop", "squash", "pad"))
        one_of("interpolation", self.interpolation, INTERPOLATION)
        one_of("centre", self.centre, ("even", "down"))
        one_of("decode", self.decode, get_args(Decode))

    def as_dict(self) -> dict[str, Any]:
        """For the encoder card; tuples become lists, as they come back from JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


def decode(data: bytes) -> Image.Image:
    """Decode an encoded picture to 8-bit RGB.

    Raises ImageError with the reason: empty, of a format that is not read, not an image,
    truncated, corrupt, of too many pixels.
    """
    if not data:
        raise ImageError(Reason.EMPTY)
    small = _small_jpeg(data)
    if small is not None:
        return small
    try:
        image = Image.open(io.BytesIO(data), formats=formats())
        if image.width * image.height > MAX_PIXELS:
            raise ImageError(Reason.TOO_MANY_PIXELS, f"{image.width} x {image.height}")
        image.load()
        turn, rgb = rotation(image), as_rgb(image)
        return rgb if turn is None else rgb.transpose(turn)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(unreadable(data), f"begins with {data[:12]!r}") from None
    except Image.DecompressionBombError as error:
        raise ImageError(Reason.TOO_MANY_PIXELS, error) from error
    except Exception as error:  # Pillow's plugins raise nearly anything on broken bytes
        said = str(error) or type(error).__name__
        cut = "truncated" in said.lower()
        raise ImageError(Reason.TRUNCATED if cut else Reason.CORRUPT, said) from error


def _small_jpeg(data: bytes) -> Image.Image | None:
    """A small plain JPEG; None for any other picture, and for what is broken."""
    size = plain_jpeg(data)
    if size is None or size[0] * size[1] > SMALL:
        return None
    try:
        return Image.frombytes("RGB", size, data, "jpeg", "RGB", "")
    except Exception:  # the usual way says what is wrong
        return None


def unreadable(data: bytes) -> Reason:
    """Why no decoder takes these bytes: another format, a broken header, or no picture."""
    if data.startswith((b"II*\0", b"MM\0*")):
        return Reason.TIFF if _odd_tiff(data) else Reason.CORRUPT
    known = unread(data)
    if known is not None and not (known is Reason.AVIF and "AVIF" in formats()):
        return known
    return Reason.CORRUPT if known or data.startswith(SIGNATURES) else Reason.NOT_AN_IMAGE


def _odd_tiff(data: bytes) -> bool:
    """Whether it is a whole TIFF whose kind of pixels Pillow does not know."""
    try:
        TiffImagePlugin.TiffImageFile(io.BytesIO(data))
    except SyntaxError as error:
        return "pixel mode" in str(error)
    except Exception:
        return False
    return False


def formats() -> list[str]:
    """What Pillow may open here."""
    Image.init()  # does nothing from the second call on
    return [name for name in FORMATS if name in Image.OPEN]


def upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF rotation."""
    method = rotation(image)
    return image if method is None else image.transpose(method)


def rotation(image: Image.Image) -> Image.Transpose | None:
    """The EXIF rotation, if any. Unreadable EXIF does not make the picture unreadable."""
    if says_nothing(image):
        return None
    try:
        return ORIENTATION.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return None


def says_nothing(image: Image.Image) -> bool:
    """Whether it is a JPEG without EXIF and XMP, the places where its orientation may be."""
    return image.format == "JPEG" and not ("exif" in image.info or "xmp" in image.info)


def as_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB: wide grey scaled down, transparency over white."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    image = narrowed(image)
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, rgba)
    return image.convert("RGB")


def prepare(image: Image.Image, rule: ImageRule) -> np.ndarray:
    """An RGB picture to (size, size, 3) uint8 under the rule; normalisation comes later."""
    scaled = scaled_size(image.width, image.height, rule)
    if scaled[0] * scaled[1] > MAX_SCALED:
        image = _resized_centre(image, scaled, rule)
    else:
        image = image.resize(scaled, INTERPOLATION[rule.interpolation])
    return np.asarray(_centre(image, rule), dtype=np.uint8)


def scaled_size(width: int, height: int, rule: ImageRule) -> tuple[int, int]:
    """Width and height after the resize, rounded as torchvision (crop) and timm (pad) do."""
    if rule.mode == "squash":
        return rule.resize, rule.resize
    if rule.mode == "crop":
        short = min(width, height)
        long = int(rule.resize * max(width, height) / short)
        return (rule.resize, long) if width == short else (long, rule.resize)
    ratio = max(width / rule.resize, height / rule.resize)
    return max(1, round(width / ratio)), max(1, round(height / ratio))


def _resized_centre(image: Image.Image, scaled: tuple[int, int], rule: ImageRule) -> Image.Image:
    """The central part of the resized picture, without ever building the rest of it."""
    size = [min(side, rule.size) for side in scaled]
    start = [offset(side - part, rule) for side, part in zip(scaled, size, strict=True)]
    ratio = [side / target for side, target in zip(image.size, scaled, strict=True)]
    left, top = (s * r for s, r in zip(start, ratio, strict=True))
    right, bottom = ((s + n) * r for s, n, r in zip(start, size, ratio, strict=True))
    box = (left, top, min(right, image.width), min(bottom, image.height))
    return image.resize((size[0], size[1]), INTERPOLATION[rule.interpolation], box)


def _centre(image: Image.Image, rule: ImageRule) -> Image.Image:
    """The central square of ``rule.size`` px, filled up where the picture is smaller."""
    size = (rule.size, rule.size)
    if image.size == size:
        return image
    spare = [side - rule.size for side in image.size]
    left, top = (offset(n, rule) for n in spare)
    if min(spare) >= 0:
        return image.crop((left, top, left + rule.size, top + rule.size))
    fill = rule.fill if isinstance(rule.fill, tuple) else (rule.fill,) * 3
    canvas = Image.new("RGB", size, fill)
    canvas.paste(image, (-left, -top))
    return canvas


def offset(spare: int, rule: ImageRule) -> int:
    """Where the centre begins on a side that is ``spare`` px longer (or, below 0, shorter)."""
    if spare < 0:
        return -(-spare // 2)
    return spare // 2 if rule.centre == "down" else round(spare / 2)
