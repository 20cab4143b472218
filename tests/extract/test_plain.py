"""A JPEG whose header is not read has the pixels, or the reason, that it has when it is."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageCms

from mmx.extract.pictures import decoding, images
from mmx.extract.pictures.images import ImageRule, decode
from mmx.extract.pictures.plain import plain_jpeg
from mmx.extract.reasons import ImageError
from tests.extract.odd_jpegs import ODD
from tests.extract.photographs import jpeg

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")

RULES = [
    ImageRule(24, 24, mode, "bicubic", (0.5,) * 3, (0.5,) * 3, decode=way)  # type: ignore[arg-type]
    for mode, way in (("crop", "exact"), ("pad", "fast"), ("squash", "fast"))
]
SIZES = [(31, 40), (40, 31), (16, 16), (1, 1), (200, 90), (300, 300)]


def profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


PLAIN = {
    "as usual": {},
    "progressive": {"progressive": True},
    "full colours": {"subsampling": 0},
    "half colours": {"subsampling": 1},
    "restarts": {"restart_marker_blocks": 2},
    "comment": {"comment": b"of no meaning"},
    "profile": {"icc_profile": profile()},
    "own tables": {"optimize": True},
}


def result(data: bytes, rule: ImageRule) -> object:
    try:
        return decoding.pixels_of(data, rule).tolist()
    except ImageError as error:
        return f"{error}: {error.detail}"


def both(data: bytes, rule: ImageRule, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """With and without a look into the header."""
    short = result(data, rule)
    with monkeypatch.context() as patched:
        for module in (images, decoding):
            patched.setattr(module, "plain_jpeg", lambda data: None)
        return [short, result(data, rule)]


@pytest.mark.parametrize("name", PLAIN)
def test_plain_pictures(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for size in SIZES:
        data = jpeg(*size, **PLAIN[name])
        assert plain_jpeg(data) == size
        for rule in RULES:
            short, whole = both(data, rule, monkeypatch)
            assert short == whole


@pytest.mark.parametrize("name", ODD)
def test_others_are_not_taken(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = ODD[name]()
    if name not in ("made larger", "as it is", "cut off", "bomb", "flawed"):
        assert plain_jpeg(data) is None
    for rule in RULES:
        short, whole = both(data, rule, monkeypatch)
        assert short == whole


def test_exif_and_xmp_may_turn_a_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    xmp = b'<x:xmpmeta><rdf tiff:Orientation="6"/></x:xmpmeta>'
    for options in ({"exif": exif}, {"xmp": xmp}):
        data = jpeg(31, 40, **options)
        assert plain_jpeg(data) is None
        assert decode(data).size == (40, 31)


def test_a_plain_picture_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    data = jpeg(31, 40)
    monkeypatch.setattr(images.Image, "open", None)
    assert decode(data).size == (31, 40)


def spoilt(data: bytes, random: np.random.Generator) -> bytes:
    """A few bytes changed, most of them in the header; or some missing, doubled or behind."""
    kind, found = random.integers(0, 8), np.frombuffer(data, np.uint8).copy()
    if kind == 0:
        return data[: random.integers(0, len(data))]
    if kind == 1:
        return data + bytes(random.integers(0, 256, random.integers(1, 40), dtype=np.uint8))
    if kind == 2:
        at, more = sorted(random.integers(0, len(data), 2))
        return data[:at] + data[more:]
    if kind == 3:
        at, more = sorted(random.integers(0, min(700, len(data)), 2))
        return data[:more] + data[at:]
    end = 30 if kind == 4 else len(data) if kind == 5 else min(700, len(data))
    found[random.integers(0, end, random.integers(1, 4))] = random.integers(0, 256)
    return found.tobytes()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.mode} {rule.decode}")
def test_spoilt_pictures(rule: ImageRule, monkeypatch: pytest.MonkeyPatch) -> None:
    random, outcomes = np.random.default_rng(3), set()
    whole = [jpeg(*size, **options) for size in SIZES[:3] for options in PLAIN.values()]
    for n in range(600):
        data = spoilt(whole[n % len(whole)], random)
        short, long = both(data, rule, monkeypatch)
        assert short == long, data
        outcomes.add(short.partition(":")[0] if isinstance(short, str) else "pixels")
    assert len(outcomes) > 3
