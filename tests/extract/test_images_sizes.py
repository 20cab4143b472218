"""Pictures that are too large, very small or very long."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmx.extract.pictures import images
from mmx.extract.pictures.images import ImageRule, decode, prepare
from tests.extract.files import BLUE, QUARTERS, RED, encoded, noise, png, reason


@pytest.mark.parametrize("side", [13_378, 30_000, 2**31 - 1])
def test_decompression_bomb(side: int) -> None:
    data = png(side, side, 8, 2, zlib.compress(b"\0" * 10_000))
    assert len(data) < 1000
    assert reason(data) == "too many pixels"


def test_bombs_are_refused_even_where_another_library_lifts_pillows_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    data = png(30_000, 30_000, 8, 2, zlib.compress(b"\0" * 10_000))
    assert reason(data) == "too many pixels"


def test_pillows_warnings_reach_nobody(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(noise(20, 20))))
    code = (
        "import pathlib, sys; from PIL import Image;"
        "from mmx.extract.pictures.images import decode;"
        "Image.MAX_IMAGE_PIXELS = 300; print(decode(pathlib.Path(sys.argv[1]).read_bytes()).size)"
    )
    command = [sys.executable, "-W", "always", "-c", code, str(tmp_path / "a.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("(20, 20)", "")


def test_a_text_chunk_bomb() -> None:
    bomb = zlib.compress(b"x" * 200_000_000, 9)
    body = encoded(Image.fromarray(QUARTERS))
    chunk = b"zTXtComment\0\0" + bomb
    text = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    assert reason(body[:33] + text + body[33:]).startswith("corrupt image")


def test_one_pixel() -> None:
    data = encoded(Image.new("RGB", (1, 1), (10, 20, 30)))
    for mode in ("crop", "squash", "pad"):
        rule = ImageRule(8, 9 if mode == "crop" else 8, mode, "bicubic", (0, 0, 0), (1, 1, 1))
        assert (prepare(decode(data), rule) == (10, 20, 30)).all()


@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1)])
@pytest.mark.parametrize("mode", ["crop", "squash", "pad"])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
def test_extreme_aspect_ratio(shape: tuple[int, int], mode: str, interpolation: str) -> None:
    line = np.zeros((*shape, 3), dtype=np.uint8)
    line.reshape(-1, 3)[:2500] = RED
    line.reshape(-1, 3)[2500:] = BLUE
    rule = ImageRule(224, 224, mode, interpolation, (0, 0, 0), (1, 1, 1), fill=7)
    result = prepare(decode(encoded(Image.fromarray(line))), rule)
    assert result.shape == (224, 224, 3)
    along = result if shape[0] == 1 else result.transpose(1, 0, 2)
    if mode == "pad":  # one pixel wide after the resize, the rest is filled up
        assert (along[:111] == 7).all()
        assert (along[112:] == 7).all()
        along = along[111:112]
    # The change of colour is in the middle; a crop sees half a source pixel of each.
    assert np.abs(along[:, 0] - np.array(RED) * 1.0).max() <= (1 if mode == "crop" else 0)
    assert np.abs(along[:, -1] - np.array(BLUE) * 1.0).max() <= (1 if mode == "crop" else 0)
    assert (along[:, 100] == along[0, 100]).all()


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_the_long_way_round_gives_the_same_centre(
    interpolation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = ImageRule(32, 37, "crop", interpolation, (0, 0, 0), (1, 1, 1))
    picture = Image.fromarray(noise(40, 900))
    whole = prepare(picture, rule)
    monkeypatch.setattr(images, "MAX_SCALED", 1000)
    part = prepare(picture, rule)
    assert np.abs(whole * 1.0 - part).max() <= 1
