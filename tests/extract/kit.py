"""Pictures of many shapes, and what every encoder must fulfil."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mmx.extract.encoder import Encoder, checked
from mmx.extract.pictures.images import prepare
from tests.shared import ROOT

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SHAPES = [(300, 200), (223, 517), (231, 228), (224, 224), (90, 61), (30, 400), (227, 229)]  # h, w
TEXTS = ["a red leather handbag", "!", "Größe 42 – naïve café", "<b>bold &amp; new</b>", "x " * 400]


@cache
def pictures() -> list[Image.Image]:
    """Smooth colours with noise on top, and some film posters where they are available."""
    generator = np.random.default_rng(7)
    made = []
    for height, width in SHAPES:
        rows, columns = np.mgrid[0:height, 0:width]
        waves = [128 + 90 * np.sin(rows / (9 + c) + columns / (17 - 3 * c)) for c in range(3)]
        noisy = np.stack(waves, 2) + generator.normal(0, 12, (height, width, 3))
        made.append(Image.fromarray(noisy.clip(0, 255).astype(np.uint8)))
    posters = sorted((ROOT / "data/ml-100k-posters/images").glob("10*.jpg"))[:2]
    return made + [Image.open(path).convert("RGB") for path in posters]


def pixel_batch(encoder: Encoder, images: list[Image.Image]) -> np.ndarray:
    assert encoder.image_rule is not None
    return np.stack([prepare(image, encoder.image_rule) for image in images])


def check_encoder(encoder: Encoder) -> None:
    """Shapes, types, batches and repeats: what the pipeline builds on."""
    card = encoder.card
    assert card == type(card).from_json(card.to_json())
    results = {}
    if "image" in card.dimensions:
        pixels = pixel_batch(encoder, pictures()[:3])
        results["image"] = encoder.encode_image(pixels)
        single = np.concatenate([encoder.encode_image(pixels[[i]]) for i in range(3)])
        np.testing.assert_allclose(results["image"], single, atol=1e-4, rtol=1e-4)
        assert (encoder.encode_image(pixels) == results["image"]).all()
    if "text" in card.dimensions:
        batch = encoder.tokenize(TEXTS[:3])
        assert batch.count.shape == batch.truncated.shape == (3,)
        assert (batch.count.dtype, batch.truncated.dtype) == (np.int32, np.bool_)
        results["text"] = encoder.encode_text(batch)
        rows = [encoder.encode_text(encoder.tokenize([text])) for text in TEXTS[:3]]
        np.testing.assert_allclose(results["text"], np.concatenate(rows), atol=1e-4, rtol=1e-4)
    assert set(results) == set(card.dimensions) - {"fused"}
    for modality, vectors in results.items():
        assert vectors.dtype == np.float32
        assert checked(vectors, 3, card.dimensions[modality], card.name) is vectors
        if card.normalised:
            np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
        assert np.abs(vectors[0] - vectors[1]).max() > 1e-3  # not one and the same vector


def ours(encoder: Encoder) -> tuple[np.ndarray, np.ndarray]:
    return (
        encoder.encode_image(pixel_batch(encoder, pictures())),
        encoder.encode_text(encoder.tokenize(TEXTS)),
    )


def assert_close(got: tuple[np.ndarray, ...], expected: tuple[np.ndarray, ...]) -> None:
    for mine, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)


def word_tokenizer() -> PreTrainedTokenizerFast:
    """Ten words: enough to distinguish tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "</s>", "<unk>", "a", "red", "leather", "handbag", "x", "42", "!"]
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
