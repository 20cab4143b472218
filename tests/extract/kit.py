"""Pictures of many shapes, and the vectors of an encoder to compare."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mmx.extract.encoder import Encoder
from mmx.testing.encoders import TEXTS, check_encoder, made_pictures, pixel_batch
from tests.shared import ROOT

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["TEXTS", "assert_close", "check_encoder", "ours", "pictures", "pixel_batch",
           "word_tokenizer"]  # fmt: skip


@cache
def pictures() -> list[Image.Image]:
    """Made-up ones, and some film posters where they are available."""
    posters = sorted((ROOT / "data/ml-100k-posters/images").glob("10*.jpg"))[:2]
    return made_pictures() + [Image.open(path).convert("RGB") for path in posters]


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
