"""Tokens merged in Rust are open_clip's own, whatever the text."""

from __future__ import annotations

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmx.extract.encoders import openclip_tokens
from mmx.extract.encoders.openclip_tokens import OpenClipTokenizer

OWN = open_clip.SimpleTokenizer()
OURS = OpenClipTokenizer(OWN, "SimpleTokenizer")
ODD = [
    "",
    " \n\t ",
    "a <start_of_text> b<end_of_text>",
    "[<start_of_text>",
    "<START_OF_TEXT> <End_of_text>",
    "It's WE'VE I'LL 'S ſ ß İ",
    "caf&eacute; &amp;amp; &lt;b&gt; & AT&T",
    "ÃƒÂ© broken twice, donâ€™t",
    "\x0b\x0c\x1c\x85\u2028 spaces\u3000of all\u00a0kinds",
    "\x1b[31mred\x07\ufeff",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇳🇴 ☕️ 1️⃣",
    "日本語テキスト 한국어 العربية हिन्दी ไทย עברית Ελληνικά Русский",
    "½ ² Ⅷ ٣ 𝟘 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ﬁ ﷺ",
    "word " * 100,
    "long" * 90,
    "!" * 400,
]
PIECES = st.one_of(
    st.text(max_size=20), st.sampled_from(ODD[:13]), st.text("aB '&_<>!0", max_size=9)
)


def check(texts: list[str], ours: OpenClipTokenizer = OURS) -> None:
    found = ours(texts)
    own = ours.tokenizer
    assert torch.equal(found.tokens, own(texts))
    whole = np.array([len(own.encode(text)) + 2 for text in texts])
    assert (found.count == np.minimum(whole, ours.limit)).all()
    assert (found.truncated == (whole > ours.limit)).all()


def test_odd_texts() -> None:
    check(ODD)
    assert OURS([]).tokens.shape == (0, 77)


@given(st.lists(st.lists(PIECES, max_size=6).map(" ".join), min_size=1, max_size=4))
def test_any_texts(texts: list[str]) -> None:
    check([text.encode("utf-8", "ignore").decode() for text in texts])


@pytest.mark.parametrize("clean", ["whitespace", "canonicalize"])
def test_other_ways_to_clean(clean: str) -> None:
    check(ODD, OpenClipTokenizer(open_clip.SimpleTokenizer(clean=clean, context_length=16), "x"))


def test_words_are_forgotten_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openclip_tokens, "KNOWN", 20)
    ours = OpenClipTokenizer(OWN, "SimpleTokenizer")
    for text in ODD:
        check([text], ours)
        check([f"{text} again <end_of_text>"], ours)
    assert ours._merges is not None
    assert len(ours._merges._known) < 30


def test_one_that_draws_its_tokens_is_left_alone() -> None:
    drawing = open_clip.SimpleTokenizer(reduction_mask="simple", context_length=8)
    found = OpenClipTokenizer(drawing, "SimpleTokenizer")(["one two three", "a " * 50])
    assert found.tokens.shape == (2, 8)
    assert found.count.tolist() == [5, 8]
    assert found.truncated.tolist() == [False, True]
