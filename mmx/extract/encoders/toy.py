"""An encoder whose vectors can be computed in one's head: for tests, and to try mmx.

No torch, no weights, the same vector whatever the batch.

image, d = 8, of the picture squashed to 8 × 8 px, every number in [0, 1] but the differences:
    mean red, mean green, mean blue; brightness (the mean of these three); the standard
    deviation of brightness over the pixels; left half minus right half; top half minus bottom
    half; share of pixels brighter than one half
text, d = 8, counts in the first 64 words (whatever white space separates):
    words, letters, vowels (aeiou), digits, capitals, other characters, different words,
    characters of the longest word
fused, d = 16, only when it is named: the image vector, then the text vector.
"""

from __future__ import annotations

import numpy as np

from mmx.cache.card import EncoderCard
from mmx.devices import AUTO
from mmx.errors import OptionError
from mmx.extract.encoder import Encoder, TextBatch
from mmx.extract.encoders.request import Request
from mmx.extract.pictures.images import ImageRule

RULE = ImageRule(8, 8, "squash", "bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
LIMIT = 64  # words


def open_toy(request: Request) -> Toy:
    """``toy``. Raises OptionError for weights, a name, a precision or an option: it has none."""
    request.only()
    if request.name or request.weights is not None:
        raise OptionError(f"{request.spec}: toy has no variants and no weights; --model toy")
    if request.device not in ("cpu", AUTO):
        raise OptionError("toy computes on the CPU; drop --device")
    if request.precision != "float32":
        raise OptionError("toy computes in float32; drop --precision")
    return Toy(request.wanted(("image", "text"), extra=("fused",)))


class Toy(Encoder):
    """See the docstring of the module."""

    def __init__(self, modalities: tuple[str, ...] = ("image", "text")) -> None:
        image = any(m in modalities for m in ("image", "fused"))
        text = any(m in modalities for m in ("text", "fused"))
        self.image_rule = RULE if image else None
        self.card = EncoderCard(
            name="toy",
            library="mmx",
            architecture="toy",
            weights="none",
            dimensions={m: 16 if m == "fused" else 8 for m in modalities},
            normalised=False,
            precision="float32",
            image_rule=RULE.as_dict() if image else None,
            tokenizer="white space" if text else None,
            text_limit=LIMIT if text else None,
            output="simple statistics",
        )

    def encode_image(self, pixels: np.ndarray) -> np.ndarray:
        """(B, 8, 8, 3) uint8 → (B, 8) float32."""
        # Whole numbers until the end: sums are exact, whatever the batch and its layout.
        colours = pixels.astype(np.int64)  # (B, 8, 8, 3)
        bright = colours.sum(axis=3)  # (B, 8, 8), up to 765
        total, squares = bright.sum(axis=(1, 2)), (bright**2).sum(axis=(1, 2))  # (B,)
        columns = [*(colours.sum(axis=(1, 2)).T / (64 * 255)), total / (64 * 765)]
        columns.append(np.sqrt(64 * squares - total**2) / (64 * 765))
        columns.append((2 * bright[:, :, :4].sum(axis=(1, 2)) - total) / (32 * 765))
        columns.append((2 * bright[:, :4].sum(axis=(1, 2)) - total) / (32 * 765))
        columns.append((bright * 2 > 765).mean(axis=(1, 2)))
        return np.stack(columns, axis=1).astype(np.float32)  # (B, 8)

    def tokenize(self, texts: list[str]) -> TextBatch:
        """B texts → their first 64 words."""
        words = [text.split() for text in texts]
        full = np.array([len(w) for w in words], dtype=np.int32)
        return TextBatch([w[:LIMIT] for w in words], np.minimum(full, LIMIT), full > LIMIT)

    def encode_text(self, batch: TextBatch) -> np.ndarray:
        """B lists of words → (B, 8) float32."""
        rows = [_counts(words) for words in batch.tokens]
        return np.array(rows, dtype=np.float32).reshape(len(rows), 8)

    def encode_fused(self, pixels: np.ndarray, batch: TextBatch) -> np.ndarray:
        """(B, 16) float32: both vectors side by side."""
        return np.concatenate([self.encode_image(pixels), self.encode_text(batch)], axis=1)


def _counts(words: list[str]) -> list[int]:
    text = "".join(words)
    letters, digits = sum(map(str.isalpha, text)), sum(map(str.isdigit, text))
    vowels = sum(text.lower().count(vowel) for vowel in "aeiou")
    return [
        len(words),
        letters,
        vowels,
        digits,
        sum(map(str.isupper, text)),
        len(text) - letters - digits,
        len(set(words)),
        max(map(len, words), default=0),
    ]
