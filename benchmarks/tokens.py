"""Tokens of random texts equal open_clip's own, and how much faster they are made.

    python benchmarks/tokens.py                    # a million texts: some minutes
    python benchmarks/tokens.py --texts 20000 --seed 1

Half of the texts are sentences of product words, mixed with accents, broken encodings, HTML, emoji
and other scripts; a quarter are characters of one block of Unicode, every block in turn; a quarter
characters from anywhere in it. The times are of sentences of eight words and a number.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator

import open_clip
import torch

from mmx.extract.encoders.openclip_tokens import OpenClipTokenizer

PLAIN = ["red", "floral", "dress", "with", "long", "sleeves", "for", "women's", "summer", "party"]
WORDS = [
    *(*PLAIN, "it's", "we've", "AT&T", "café", "naïve"),
    *("日本語", "한국어", "العربية", "हिन्दी", "ไทย", "עברית", "Ελληνικά", "Русский"),
    *("☕️", "👩‍👩‍👧", "🏳️‍🌈", "🇳🇴", "№5", "½", "x²", "ﬁne", "İstanbul", "ß", "ſ", "don’t"),
    *("&amp;", "&lt;b&gt;", "<b>", "ÃƒÂ©", "_", "--", "...", "\u200b", "\x1b[31m"),
    *("<start_of_text>", "<end_of_text>"),
]
SURROGATES = range(0xD800, 0xE000)
BATCH = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=1_000_000, help="compared")
    parser.add_argument("--seed", type=int, default=0, help="of the texts")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    theirs = open_clip.SimpleTokenizer()
    ours = OpenClipTokenizer(theirs, "SimpleTokenizer")
    different = 0
    for start in range(0, options.texts, BATCH):
        texts = [text(rng, start + i) for i in range(min(BATCH, options.texts - start))]
        theirs.cache = {k: v for k, v in theirs.cache.items() if k.startswith("<")}  # it grows
        wrong = (theirs(texts) != ours(texts).tokens).any(dim=1)
        different += int(wrong.sum())
        for i in wrong.nonzero()[:3].flatten().tolist():
            print(f"different: {texts[i]!r}")
        if sys.stderr.isatty():
            print(f"\r{start + len(texts):,} texts", end="", file=sys.stderr)
    print(f"{options.texts:,} random texts, {different:,} of other tokens than open_clip's")
    short = [" ".join([*rng.choices(PLAIN, k=8), str(rng.randrange(10**5))]) for _ in range(50_000)]
    times = [list(seconds(theirs, ours, short)) for _ in range(3)]
    slow, fast = (min(column) for column in zip(*times, strict=True))
    rates = f"{len(short) / slow:,.0f} short texts a second by open_clip, {len(short) / fast:,.0f}"
    print(f"{rates} here: {slow / fast:.1f} times")
    sys.exit(different > 0)


def text(rng: random.Random, i: int) -> str:
    """The i-th text."""
    if i % 2:
        return " ".join(rng.choices(WORDS, k=rng.randrange(25)))
    if i % 4:
        block = i // 4 * 0x80 % 0x110000
        points = [block + rng.randrange(0x80) for _ in range(rng.randrange(30))]
    else:
        points = [rng.randrange(0x110000) for _ in range(rng.randrange(30))]
    return "".join(chr(point) for point in points if point not in SURROGATES)


def seconds(theirs: object, ours: object, texts: list[str]) -> Iterator[float]:
    """Of either tokenizer, one after the other."""
    for tokenize in (theirs, ours):
        start = time.perf_counter()
        for first in range(0, len(texts), 256):
            tokenize(texts[first : first + 256])  # type: ignore[operator]
        yield time.perf_counter() - start


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
