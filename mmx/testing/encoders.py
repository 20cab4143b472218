"""What stage 1 relies on in an encoder: shapes, types, batches and repeats."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from mmx.errors import first_line
from mmx.extract.encoder import Encoder, checked
from mmx.extract.encoders import open_encoder
from mmx.extract.encoders.own import open_own
from mmx.extract.encoders.request import Request
from mmx.extract.pictures.images import prepare
from mmx.own.code import Codes, class_member
from mmx.testing.expect import expect, expect_close

SHAPES = [(300, 200), (223, 517), (231, 228), (224, 224), (90, 61), (30, 400), (227, 229)]  # h, w
TEXTS = ["a red leather handbag", "!", "Größe 42 – naïve café", "<b>bold &amp; new</b>", "x " * 400]
ROWS = 3
NEAR = {"atol": 1e-4, "rtol": 1e-4}  # of the same item in a batch and alone


@cache
def made_pictures() -> list[Image.Image]:
    """Smooth colours with noise on top, one of each of SHAPES."""
    generator = np.random.default_rng(7)
    made = []
    for height, width in SHAPES:
        rows, columns = np.mgrid[0:height, 0:width]
        waves = [128 + 90 * np.sin(rows / (9 + c) + columns / (17 - 3 * c)) for c in range(3)]
        noisy = np.stack(waves, 2) + generator.normal(0, 12, (height, width, 3))
        made.append(Image.fromarray(noisy.clip(0, 255).astype(np.uint8)))
    return made


def pixel_batch(encoder: Encoder, images: list[Image.Image]) -> np.ndarray:
    """(B, height, width, 3) uint8 as the encoder's image rule prepares them."""
    assert encoder.image_rule is not None
    return np.stack([prepare(image, encoder.image_rule) for image in images])


def check_encoder(encoder: Encoder | type | str, *, code: Codes = (), **options: Any) -> None:
    """Run the encoder on made-up pictures and texts and check all that is relied on.

    ``encoder`` is open, or a class as ``mmx extract`` takes one, or such a
    name with the ``code`` that it may run; ``options`` are those of ``open_encoder``. Raises
    AssertionError with what is wrong, MmxError where the encoder itself fails.
    """
    opened = _opened(encoder, code, options)
    try:
        _check(opened)
    except AssertionError as error:
        raise AssertionError(f"{opened.card.name}: {first_line(error)}") from error


def _opened(encoder: Encoder | type | str, code: Codes, options: dict[str, Any]) -> Encoder:
    if isinstance(encoder, str):
        return open_encoder(encoder, code=code, **options)
    if isinstance(encoder, type):
        member, given = class_member(encoder), {k: v for k, v in options.items() if v is not None}
        return open_own(Request(member.name, "", options=given), member, encoder)
    return encoder


def _check(encoder: Encoder) -> None:
    card, found = encoder.card, {}
    expect(card == type(card).from_json(card.to_json()), "its card changes when it is written")
    if {"image", "fused"} & {*card.dimensions}:
        expect(encoder.image_rule is not None, "it encodes images and has no image_rule")
    if "image" in card.dimensions:
        found["image"] = _check_images(encoder)
    if "text" in card.dimensions:
        found["text"] = _check_texts(encoder)
    if "fused" in card.dimensions:
        found["fused"] = _check_pairs(encoder)
    expect(found.keys() == card.dimensions.keys(), f"it encodes {', '.join(found)} alone")
    for modality, vectors in found.items():
        _check_vectors(encoder, modality, vectors)


def _check_images(encoder: Encoder) -> np.ndarray:
    pixels = pixel_batch(encoder, made_pictures()[:ROWS])
    vectors = encoder.encode_image(pixels)
    single = np.concatenate([encoder.encode_image(pixels[[i]]) for i in range(ROWS)])
    expect_close(vectors, single, "image, in a batch and alone", **NEAR)
    again = encoder.encode_image(pixels)
    expect((again == vectors).all(), "the same pictures give other vectors the second time")
    return vectors


def _check_texts(encoder: Encoder) -> np.ndarray:
    batch = encoder.tokenize(TEXTS[:ROWS])
    for name, kind in (("count", np.int32), ("truncated", np.bool_)):
        values = np.asarray(getattr(batch, name))
        expect(values.shape == (ROWS,), f"tokenize gives {name} of shape {values.shape}")
        expect(values.dtype == kind, f"tokenize gives {name} of {values.dtype}")
    vectors = encoder.encode_text(batch)
    rows = [encoder.encode_text(encoder.tokenize([text])) for text in TEXTS[:ROWS]]
    single = np.concatenate(rows)
    expect_close(vectors, single, "text, in a batch and alone", **NEAR)
    return vectors


def _check_pairs(encoder: Encoder) -> np.ndarray:
    pixels = pixel_batch(encoder, made_pictures()[:ROWS])
    vectors = encoder.encode_fused(pixels, encoder.tokenize(TEXTS[:ROWS]))
    rows = [
        encoder.encode_fused(pixels[[n]], encoder.tokenize([text]))
        for n, text in enumerate(TEXTS[:ROWS])
    ]
    single = np.concatenate(rows)
    expect_close(vectors, single, "pairs, in a batch and alone", **NEAR)
    return vectors


def _check_vectors(encoder: Encoder, modality: str, vectors: np.ndarray) -> None:
    expect(vectors.dtype == np.float32, f"{modality} vectors are {vectors.dtype}, not float32")
    checked(vectors, ROWS, encoder.card.dimensions[modality], encoder.card.name)
    if encoder.card.normalised:
        norms = np.linalg.norm(vectors, axis=1)
        expect_close(norms, np.ones_like(norms), f"norms of {modality}", atol=1e-6)
    expect(np.abs(vectors[0] - vectors[1]).max() > 1e-3, f"all {modality} vectors are the same")
