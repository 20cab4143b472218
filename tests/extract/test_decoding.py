"""The quick way to pixels stays within its stated distance of the exact one."""

from __future__ import annotations

import io
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from mmx.extract.encoders import open_encoder
from mmx.extract.pictures.decoding import MARGIN, TOLERANCE, pixels_of
from mmx.extract.pictures.images import ImageRule, decode, prepare
from mmx.extract.reasons import ImageError
from tests.extract.files import encoded, noise
from tests.extract.photographs import COSINE, SIZES, jpeg, photograph

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")

RULE = ImageRule(224, 224, "crop", "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), decode="fast")
LARGE = [(1800, 1350), (1400, 2800), (2400, 1700)]  # of which JPEG decodes only a part


def distance(data: bytes, rule: ImageRule) -> float:
    """Mean over the picture, in grey levels."""
    fast, exact = pixels_of(data, rule), prepare(decode(data), rule)
    assert fast.shape == exact.shape == (rule.size, rule.size, 3)
    assert fast.dtype == np.uint8
    return float(np.abs(fast.astype(int) - exact).mean())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", ["crop", "squash", "pad"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_photographs_of_usual_size(size: tuple[int, int], mode: str, interpolation: str) -> None:
    rule = replace(RULE, mode=mode, interpolation=interpolation, fill=(9, 8, 7))
    assert distance(jpeg(*size), rule) < 0.3  # not a decoder's error: only torch's weights


@pytest.mark.parametrize("size", LARGE)
@pytest.mark.parametrize("mode", ["crop", "squash", "pad"])
def test_large_photographs_are_decoded_smaller(
    size: tuple[int, int], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, draft = [], JpegImagePlugin.JpegImageFile.draft

    def spy(self: Image.Image, *args: object) -> object:
        calls.append(args)
        return draft(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "draft", spy)
    rule = replace(RULE, mode=mode)
    assert 0 < distance(jpeg(*size), rule) < TOLERANCE
    factor = max(size) / 224 if mode == "pad" else min(size) / 224
    (_, shrunk), *_ = calls
    assert factor * shrunk[0] / size[0] >= MARGIN - 0.1  # the target is covered so many times


def test_a_wrong_shrink_would_be_noticed() -> None:
    """The measure itself: decoding right down to the target is further away than allowed."""
    data = jpeg(950, 1900)
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (237, 475))
    assert image.size == (238, 475)
    near = prepare(image.convert("RGB"), RULE).astype(int)
    assert np.abs(near - prepare(decode(data), RULE)).mean() > TOLERANCE


def test_vectors_of_the_two_ways_agree() -> None:
    encoder = open_encoder("clip:mini", modalities=("image",))
    rule = encoder.image_rule
    assert rule is not None
    assert rule.decode == "exact"
    data = [jpeg(*size) for size in SIZES + LARGE]
    exact = encoder.encode_image(np.stack([pixels_of(d, rule) for d in data]))
    fast_rule = replace(rule, decode="fast")
    fast = encoder.encode_image(np.stack([pixels_of(d, fast_rule) for d in data]))
    assert (exact * fast).sum(axis=1).min() >= COSINE  # vectors have length 1
    assert (exact != fast).any()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(640, 400), (1800, 1400)])
def test_rotated_photographs(orientation: int, size: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for mode in ("crop", "squash", "pad"):
        assert distance(jpeg(*size, exif=exif), replace(RULE, mode=mode)) < TOLERANCE


@pytest.mark.parametrize("form", ["PNG", "WEBP", "GIF", "TIFF"])
def test_other_formats(form: str) -> None:
    assert distance(encoded(photograph(500, 400), form), RULE) < 0.3


def test_grey_and_cmyk_jpegs() -> None:
    for mode in ("L", "CMYK"):
        picture = photograph(600, 500).convert(mode)
        assert distance(encoded(picture, "JPEG", quality=90), RULE) < 0.3


@pytest.mark.parametrize("size", [(92, 138), (224, 224), (224, 500), (100, 2000)])
def test_what_is_not_made_smaller_does_not_change(size: tuple[int, int]) -> None:
    assert distance(jpeg(*size), RULE) == 0


def test_a_torchvision_without_decoders(monkeypatch: pytest.MonkeyPatch) -> None:
    data = jpeg(640, 480)
    found = pixels_of(data, RULE)
    monkeypatch.setitem(sys.modules, "torchvision.io", None)
    assert (pixels_of(data, RULE) == found).all()


def test_exact_is_exact() -> None:
    data, rule = jpeg(640, 480), replace(RULE, decode="exact")
    assert (pixels_of(data, rule) == prepare(decode(data), rule)).all()
    lanczos = replace(RULE, interpolation="lanczos")  # torch has no such filter
    assert (pixels_of(data, lanczos) == prepare(decode(data), lanczos)).all()


def reason_of(data: bytes, rule: ImageRule) -> str:
    try:
        return str(pixels_of(data, rule).shape)
    except ImageError as error:
        return str(error)


def test_broken_files_have_the_same_reasons() -> None:
    random, exact = np.random.default_rng(2), replace(RULE, decode="exact")
    whole = [encoded(Image.fromarray(noise(400, 300)), "JPEG"), jpeg(1400, 1350)]
    broken = [b"", b"no picture", *(data[: int(len(data) * 0.6)] for data in whole)]
    for data in whole:
        for _ in range(12):
            bytes_ = np.frombuffer(data, dtype=np.uint8).copy()
            bytes_[random.integers(0, 600, 6)] = random.integers(0, 256, 6)
            broken.append(bytes_.tobytes())
    reasons = [reason_of(data, RULE) for data in broken]
    assert reasons == [reason_of(data, exact) for data in broken]
    assert len(set(reasons)) > 3


def test_the_card_says_how_pictures_were_decoded() -> None:
    cards = {way: open_encoder("clip:mini", decode=way).card for way in ("exact", "fast")}
    assert cards["exact"].differences(cards["fast"]) == ["image_rule"]
    assert [cards[way].image_rule["decode"] for way in cards] == ["exact", "fast"]  # type: ignore[index]
