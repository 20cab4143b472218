"""JPEGs that a device may decode and others, and doubles of its decoder."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image

from mmx.extract.pictures import jpegs
from mmx.extract.pictures.decoding import decode_jpegs
from tests.catalogue import write_items
from tests.extract.files import encoded
from tests.extract.photographs import jpeg, photograph


def progressive() -> bytes:
    return jpeg(400, 300, progressive=True, subsampling=0)


def flawed() -> bytes:
    """A JPEG with a good header and end, and a table that no decoder can use."""
    data = bytearray(jpeg(300, 400))
    at = data.index(b"\xff\xc4") + 5
    data[at : at + 16] = b"\xff" * 16
    return bytes(data)


def bomb() -> bytes:
    data = bytearray(jpeg(300, 400))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = b"\xff\xf0" * 2  # height and width
    return bytes(data)


def unmarked() -> bytes:
    """Red, green and blue planes, which only the names of the components say."""
    data = jpeg(300, 400, keep_rgb=True)
    at = data.index(b"\xff\xee")
    return data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return jpeg(300, 400, exif=exif)


def two_pictures() -> bytes:
    buffer = io.BytesIO()
    first = photograph(300, 400)
    first.save(buffer, "MPO", save_all=True, append_images=[photograph(300, 400, seed=1)])
    return buffer.getvalue()


ODD = {
    "grey": lambda: encoded(photograph(300, 400).convert("L"), "JPEG"),
    "cmyk": lambda: encoded(photograph(300, 400).convert("CMYK"), "JPEG"),
    "without luminance": lambda: jpeg(300, 400, keep_rgb=True),
    "red, green and blue by name": unmarked,
    "turned": turned,
    "png": lambda: encoded(photograph(300, 400)),
    "two pictures": two_pictures,
    "made larger": lambda: jpeg(60, 90),
    "as it is": lambda: jpeg(96, 96),
    "cut off": lambda: jpeg(300, 400)[:-3000],
    "bomb": bomb,
    "flawed": flawed,
    "not a picture": lambda: b"\xff\xd8\xff\xd9",
    "empty": lambda: b"",
}
BROKEN = ("cut off", "bomb", "flawed", "not a picture", "empty")


def spied(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many JPEGs each call of the decoder will have been given."""
    seen: list[int] = []

    def spy(data: Sequence[bytes], device: torch.device) -> list[torch.Tensor]:
        seen.append(len(data))
        return decode_jpegs(data, device)

    monkeypatch.setattr(jpegs, "decode_jpegs", spy)
    return seen


def brighter(data: Sequence[bytes], device: torch.device) -> list[torch.Tensor]:
    """A decoder that is off by five grey levels."""
    return [(one.int() + 5).clamp(0, 255).byte() for one in decode_jpegs(data, device)]


def catalogue(folder: Path) -> Path:
    (folder / "images").mkdir(parents=True)
    pictures = {f"p{n}": jpeg(200 + 9 * n, 330 - 9 * n) for n in range(20)}
    pictures |= {name.replace(" ", "-"): make() for name, make in ODD.items()}
    for name, data in pictures.items():
        (folder / "images" / name).write_bytes(data)
    rows = [{"item_id": name, "image": f"images/{name}"} for name in pictures]
    return write_items(folder, rows)
