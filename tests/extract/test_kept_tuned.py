"""An encoder that ``mmx finetune`` wrote, kept as files: it opens for ever and encodes the same.

``fixtures/old-tuned`` is a VLMo of width 8 and one block, after two epochs on the items of
``tests/recommend/fixtures``; ``fixtures/vocab.txt`` is its vocabulary. It was written by mmx 0.1.0
at commit b3aafef and must never be written again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mmx

FIXTURES = Path(__file__).parent / "fixtures"
IMAGE = [-0.12080061, -0.39880475, 0.47929704, -0.05985377]  # first values of the vectors
TEXT = [0.17764245, 0.3066545, 0.46153706, 0.45240754]


@pytest.mark.parametrize("weights", ["old-tuned", "old-tuned/model.safetensors"])
def test_it_encodes_as_it_did(weights: str) -> None:
    encoder = mmx.open_encoder("vlmo", weights=FIXTURES / weights, tokenizer=FIXTURES / "vocab.txt")
    pixels = np.full((1, 8, 8, 3), (60, 195, 21), np.uint8)
    np.testing.assert_allclose(encoder.encode_image(pixels)[0, :4], IMAGE, atol=1e-5)
    vectors = encoder.encode_text(encoder.tokenize(["the red shoe"]))
    np.testing.assert_allclose(vectors[0, :4], TEXT, atol=1e-5)
