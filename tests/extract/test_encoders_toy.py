"""The toy encoder, whose vectors can be worked out by head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmx.errors import OptionError
from mmx.extract.encoders import open_encoder
from mmx.extract.pictures.images import prepare
from tests.extract.kit import check_encoder


def toy_image(image: Image.Image) -> list[float]:
    encoder = open_encoder("toy")
    return encoder.encode_image(prepare(image, encoder.image_rule)[None])[0].tolist()


def test_toy_pictures_by_head() -> None:
    red = Image.new("RGB", (50, 20), (255, 0, 0))
    assert toy_image(red) == pytest.approx([1, 0, 0, 1 / 3, 0, 0, 0, 0])
    assert toy_image(Image.new("RGB", (1, 1), (255, 255, 255))) == [1, 1, 1, 1, 0, 0, 0, 1]
    left = Image.new("RGB", (8, 8))
    left.paste((255, 255, 255), (0, 0, 4, 8))
    assert toy_image(left) == pytest.approx([0.5, 0.5, 0.5, 0.5, 0.5, 1, 0, 0.5])
    bottom = Image.new("RGB", (8, 8))
    bottom.paste((0, 255, 255), (0, 4, 8, 8))
    third = 1 / 3
    assert toy_image(bottom) == pytest.approx([0, 0.5, 0.5, third, third, 0, -2 * third, 0.5])


def test_toy_texts_by_head() -> None:
    encoder = open_encoder("toy")
    batch = encoder.tokenize(["Red shoes, red size 42", "", "a " * 65])
    assert encoder.encode_text(batch).tolist() == [
        [5, 15, 6, 2, 1, 1, 5, 6],
        [0, 0, 0, 0, 0, 0, 0, 0],
        [64, 64, 64, 0, 0, 0, 1, 1],
    ]
    assert batch.count.tolist() == [5, 0, 64]
    assert batch.truncated.tolist() == [False, False, True]


def test_toy_is_the_same_in_every_batch_to_the_last_bit() -> None:
    encoder = open_encoder("toy", modalities=("fused", "text", "image"))
    check_encoder(encoder)
    pixels = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), dtype=np.uint8)
    texts = [f"text number {n * n}" for n in range(9)]
    whole = encoder.encode_fused(pixels, encoder.tokenize(texts))
    assert whole.shape == (9, encoder.card.dimensions["fused"])
    for n in range(9):
        single = encoder.encode_fused(pixels[[n]], encoder.tokenize([texts[n]]))
        assert (single == whole[n]).all()
    assert list(encoder.card.dimensions) == ["image", "text", "fused"]


def test_toy_refuses_what_it_has_not() -> None:
    for options, message in [
        ({"precision": "bfloat16"}, "drop --precision"),
        ({"weights": Path(__file__)}, "no weights"),
        ({"mean": (0, 0, 0)}, "--mean is not used by toy"),
        ({"modalities": ("sound",)}, "--modalities sound: toy encodes image, text, fused only"),
    ]:
        with pytest.raises(OptionError, match=message):
            open_encoder("toy", **options)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="no variants"):
        open_encoder("toy:big")
