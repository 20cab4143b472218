"""JPEGs decoded and resized on the encoder's device, several at once.

This is "gpu" of ``ImageRule.decode``. On CUDA torchvision calls nvJPEG. Only upright JPEGs of
three colours that become smaller are decoded here. All other pictures, and those that the device
refuses or has no memory for, are decoded the fast way (mmx.extract.pictures.decoding), which also
says what is wrong with a broken one. nvJPEG enlarges the colours differently from libjpeg, so the
first ``CHECKED`` pictures are compared with the exact way.

On a CPU libjpeg takes the place of nvJPEG; the rest is the same code.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image

from mmx.errors import EncoderError
from mmx.extract.pictures.decoding import (
    FILTERS,
    TOLERANCE,
    decode_jpegs,
    factor_of,
    header,
    orientation,
    pixels_of,
)
from mmx.extract.pictures.images import ImageRule
from mmx.extract.pictures.plain import plain_jpeg
from mmx.extract.pictures.together import resized_together
from mmx.extract.reasons import ImageError

CHECKED = 16  # pictures of each process that are compared with the exact way
AT_ONCE = 4  # groups on the device; torchvision decodes one of them while others are resized
MOST_PIXELS = 1 << 25  # of a group, which is 100 MB of bytes
END = b"\xff\xd9"  # a JPEG without it is cut off, which nvJPEG may not notice


@dataclass(frozen=True)
class _Jpeg:
    place: int  # in the caller's list
    data: bytes
    width: int  # px
    height: int


class Jpegs:
    """Decodes JPEGs under one rule on one device; safe to call from many threads."""

    def __init__(self, rule: ImageRule, device: torch.device | str) -> None:
        self.rule, self.device = rule, torch.device(device)
        self._places = threading.BoundedSemaphore(AT_ONCE)
        self._streams: list[torch.cuda.Stream] = []  # that no thread uses now
        self._lock = threading.Lock()
        self._unchecked = CHECKED

    def pixels(self, data: Sequence[bytes | None]) -> list[np.ndarray | None]:
        """(size, size, 3) uint8 for each encoded picture, None for what is left to the CPU.

        Raises EncoderError when a picture is further than TOLERANCE from the exact one.
        """
        found: list[np.ndarray | None] = [None] * len(data)
        for group in _groups(self._taken(data)):
            for jpeg, picture in zip(group, self._made(group), strict=True):
                if picture is not None and self._good(jpeg.data, picture):
                    found[jpeg.place] = picture
        return found

    def must_work(self) -> None:
        """Raises ImportError or RuntimeError where the device cannot decode and resize at all."""
        side, buffer = 2 * max(self.rule.size, self.rule.resize), io.BytesIO()
        Image.new("RGB", (side, side), (9, 99, 199)).save(buffer, "JPEG")
        with self._turn():
            (raw,) = decode_jpegs([buffer.getvalue()], self.device)
            resized_together([raw], self.rule).cpu()

    def _taken(self, data: Sequence[bytes | None]) -> Iterator[_Jpeg]:
        for place, one in enumerate(data):
            size = takes(one, self.rule) if one is not None else None
            if one is not None and size is not None:
                yield _Jpeg(place, one, *size)

    def _made(self, group: list[_Jpeg]) -> list[np.ndarray | None]:
        found: list[np.ndarray | None] = [None] * len(group)
        with self._turn():
            raws = self._decoded([jpeg.data for jpeg in group])
            good = {
                place: raw
                for place, (raw, jpeg) in enumerate(zip(raws, group, strict=True))
                if raw is not None and raw.shape == (jpeg.height, jpeg.width, 3)
            }
            del raws
            if good:
                with suppress(RuntimeError):  # no memory
                    pixels = resized_together(list(good.values()), self.rule).cpu().numpy()
                    for place, picture in zip(good, pixels, strict=True):
                        found[place] = picture
        return found

    def _decoded(self, data: list[bytes]) -> list[torch.Tensor | None]:
        """(h, w, 3) uint8 each; None for what cannot be decoded, or not for lack of memory."""
        try:
            return list(decode_jpegs(data, self.device))
        except RuntimeError:  # it does not say which one
            if self.device.type == "cuda":  # it may still write, to memory that is free now
                torch.cuda.synchronize(self.device)
            if len(data) == 1:
                return [None]
        # Outside of the except clause: the error held the memory of the failed call.
        return [self._decoded([one])[0] for one in data]

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One of AT_ONCE places on the device, on a GPU with a stream of its own.

        torchvision's decoder writes from another stream, into memory that torch regards as free
        although kernels queued on the caller's stream may still read it. So nothing is queued on
        this one; and as it has high priority, neither passes nor that decoder get it from torch.
        """
        with self._places:
            if self.device.type != "cuda":
                yield
                return
            free = self._streams
            stream = free.pop() if free else torch.cuda.Stream(self.device, priority=-1)
            stream.synchronize()
            try:
                with torch.cuda.stream(stream):
                    yield
            finally:
                free.append(stream)

    def _good(self, data: bytes, picture: np.ndarray) -> bool:
        """Whether the picture may be used, for the first ``CHECKED`` by comparison."""
        with self._lock:
            if not self._unchecked:
                return True
            self._unchecked -= 1
        try:
            exact = pixels_of(data, replace(self.rule, decode="exact"))
        except ImageError:  # Pillow is stricter than the device, and its reason counts
            return False
        distance = float(np.abs(picture.astype(int) - exact).mean())
        if distance > TOLERANCE:
            raise EncoderError(
                f"a JPEG decoded on {self.device} is {distance:.1f} grey levels from the exact "
                f"pixels, {TOLERANCE} is allowed; drop --gpu-decode"
            )
        return True


def takes(data: bytes, rule: ImageRule) -> tuple[int, int] | None:
    """Width and height of a JPEG that a device may decode; None for any other picture."""
    if rule.interpolation not in FILTERS or not data.endswith(END):
        return None
    size = plain_jpeg(data) or _size(data)
    if size is None or size[0] * size[1] > MOST_PIXELS:
        return None
    return size if factor_of(*size, rule) is not None else None


def _size(data: bytes) -> tuple[int, int] | None:
    """Of an upright JPEG of luminance and two colours, which nvJPEG assumes; None: another."""
    image = header(data)
    return image.size if image is not None and _plain(image) else None


def _plain(image: Image.Image) -> bool:
    """Whether it is an upright JPEG of luminance and two colours."""
    ids = bytes(layer[0] for layer in getattr(image, "layer", ()))
    luminance = image.info.get("adobe_transform", 1) == 1 and ids != b"RGB"
    coloured = image.format == "JPEG" and image.mode == "RGB" and luminance
    return coloured and orientation(image) == 1


def _groups(jpegs: Iterable[_Jpeg]) -> Iterator[list[_Jpeg]]:
    """Runs of at most MOST_PIXELS together, once each has the sides of the largest."""
    group: list[_Jpeg] = []
    width = height = 0
    for jpeg in jpegs:
        width, height = max(width, jpeg.width), max(height, jpeg.height)
        if group and (len(group) + 1) * width * height > MOST_PIXELS:
            yield group
            group, width, height = [], jpeg.width, jpeg.height
        group.append(jpeg)
    if group:
        yield group
