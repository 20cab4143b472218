"""An encoded picture to pixels the fast way, within a stated distance of the exact one.

``ImageRule.decode`` says which way is taken. "exact" is mmx.extract.pictures.images: Pillow
decodes and resizes, and every number equals that of the encoder's own library. "fast" differs in
two steps:

- JPEGs are decoded by torchvision (the same numbers as Pillow's, in less time), or by Pillow
  at 1/2, 1/4 or 1/8 of their size where at least ``MARGIN`` times the target is left: the
  inverse cosine transform then does the first part of the resize.
- The resize is torch's on bytes, which rounds its weights differently from Pillow.

"gpu" is mmx.extract.pictures.jpegs for the JPEGs that it takes, and "fast" for all other pictures.

The result stays within ``TOLERANCE`` of the exact pixels, on the mean of a picture. What is not
made smaller, and what torch has no filter for, is decoded the exact way.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import ExifTags, Image

from mmx.extract.lean import torchvision
from mmx.extract.pictures.images import (
    MAX_PIXELS,
    MAX_SCALED,
    ImageRule,
    as_rgb,
    decode,
    formats,
    offset,
    prepare,
    says_nothing,
    scaled_size,
    upright,
)
from mmx.extract.pictures.plain import plain_jpeg

if TYPE_CHECKING:
    import torch

# torchvision warns that its decoders will be removed; _jpeg works without them.
warnings.filterwarnings("ignore", message="The image decoding and encoding", module="torchvision")

MARGIN = 3  # a scaled JPEG is at least this many times as large as its target
TOLERANCE = 1.0  # grey levels of 255: mean over a picture of |fast or gpu - exact|
FILTERS = ("bilinear", "bicubic")  # of torch's resize


def pixels_of(data: bytes, rule: ImageRule) -> np.ndarray:
    """An encoded picture to (size, size, 3) uint8 under the rule; raises ImageError."""
    if rule.decode != "exact" and rule.interpolation in FILTERS:
        found = _fast(data, rule)
        if found is not None:
            return found
    return prepare(decode(data), rule)


def _fast(data: bytes, rule: ImageRule) -> np.ndarray | None:
    """The fast way; None where there is none for this picture."""
    raw = _plain(data, rule)
    if raw is not None:
        return resized(raw, scaled_size(raw.shape[1], raw.shape[0], rule), rule).numpy()
    image = header(data)
    factor = shrinking(image, rule) if image is not None else None
    if image is None or factor is None:
        return None
    raw, size = _whole(data, image, factor)
    return resized(raw, scaled_size(*size, rule), rule).numpy()


def _plain(data: bytes, rule: ImageRule) -> torch.Tensor | None:
    """A JPEG that is decoded whole and whose header says no more than its size; None: another."""
    size = plain_jpeg(data)
    factor = factor_of(*size, rule) if size is not None else None
    if size is None or factor is None or factor >= 2 * MARGIN or size[0] * size[1] > MAX_PIXELS:
        return None
    return _jpeg(data)


def header(data: bytes) -> Image.Image | None:
    """The picture, not yet decoded; None where ``decode`` has to say what is wrong."""
    try:
        image = Image.open(io.BytesIO(data), formats=formats())
    except Exception:
        return None
    return image if image.width * image.height <= MAX_PIXELS else None


def shrinking(image: Image.Image, rule: ImageRule) -> float | None:
    """How many times smaller it becomes; None where it does not, or for a very long picture."""
    return factor_of(image.width, image.height, rule)


def factor_of(width: int, height: int, rule: ImageRule) -> float | None:
    """The same of a picture of so many pixels."""
    scaled = scaled_size(width, height, rule)
    factor = min(width / scaled[0], height / scaled[1])  # the same when turned on its side
    return factor if factor > 1 and scaled[0] * scaled[1] <= MAX_SCALED else None


def _whole(data: bytes, image: Image.Image, factor: float) -> tuple[torch.Tensor, tuple[int, int]]:
    """All of the picture, upright, as (h, w, 3) uint8, and its full width and height.

    Raises ImageError.
    """
    jpeg = image.format in ("JPEG", "MPO") and image.mode == "RGB"
    shrink = next((n for n in (8, 4, 2) if jpeg and factor >= n * MARGIN), 1)
    turn = orientation(image)
    if shrink > 1:
        size = (image.height, image.width) if turn >= 5 else image.size
        return _tensor(_shrunk(data, image, shrink)), size
    raw = _jpeg(data) if jpeg and turn <= 1 else None
    raw = _tensor(decode(data)) if raw is None else raw
    return raw, (raw.shape[1], raw.shape[0])


def _tensor(image: Image.Image) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.array(image))  # (h, w, 3)


def _jpeg(data: bytes) -> torch.Tensor | None:
    """(h, w, 3) uint8; None for what is broken, or what only Pillow reads."""
    try:
        return decode_jpegs([data])[0]
    except (ImportError, RuntimeError, OSError):  # without a decoder: Pillow gives the same numbers
        return None


def decode_jpegs(data: Sequence[bytes], device: str | torch.device = "cpu") -> list[torch.Tensor]:
    """JPEGs to (h, w, 3) uint8 each, on the device; CUDA's decoder is nvJPEG.

    Raises RuntimeError if any of them cannot be decoded, ImportError where torchvision has no
    decoder, as announced for a later version.
    """
    import torch

    with torchvision():
        from torchvision.io import ImageReadMode, decode_jpeg

    encoded = [torch.frombuffer(bytearray(one), dtype=torch.uint8) for one in data]
    planes = decode_jpeg(encoded, mode=ImageReadMode.RGB, device=device)  # (3, h, w) each
    return [one.permute(1, 2, 0) for one in planes]


def _shrunk(data: bytes, image: Image.Image, shrink: int) -> Image.Image:
    """A JPEG decoded at one ``shrink``-th of its size, upright."""
    image.draft("RGB", (image.width // shrink, image.height // shrink))
    try:
        image.load()
    except Exception:  # the exact way gives the reason
        return decode(data)
    return as_rgb(upright(image))


def orientation(image: Image.Image) -> int:
    """EXIF orientation; 1 where there is none or it cannot be read."""
    if says_nothing(image):
        return 1
    try:
        turn = image.getexif().get(ExifTags.Base.Orientation, 1)
        return turn if isinstance(turn, int) and 1 <= turn <= 8 else 1
    except Exception:
        return 1


def resized(raw: torch.Tensor, scaled: tuple[int, int], rule: ImageRule) -> torch.Tensor:
    """(h, w, 3) → (size, size, 3), uint8 on a CPU: torch's resize, then the centre."""
    from torch.nn import functional as F

    width, height = scaled
    planes = F.interpolate(
        raw.permute(2, 0, 1)[None],  # (1, 3, h, w), with colours innermost in memory
        (height, width),
        mode=rule.interpolation,
        antialias=True,
        align_corners=False,
    )[0]
    return _centre(planes.permute(1, 2, 0), rule)


def _centre(picture: torch.Tensor, rule: ImageRule) -> torch.Tensor:
    """(height, width, 3) uint8 → (size, size, 3), filled up where the picture is smaller."""
    height, width, _ = picture.shape
    left, top = offset(width - rule.size, rule), offset(height - rule.size, rule)
    if min(left, top) >= 0 and min(width, height) >= rule.size:
        return picture[top : top + rule.size, left : left + rule.size]
    canvas = picture.new_empty((rule.size, rule.size, 3))
    canvas[:] = canvas.new_tensor(rule.fill)
    inner = picture[max(top, 0) :, max(left, 0) :][: rule.size, : rule.size]
    y, x = max(-top, 0), max(-left, 0)
    canvas[y : y + inner.shape[0], x : x + inner.shape[1]] = inner
    return canvas
