"""What of a text the encoder is not given: control characters, and nothing else."""

from __future__ import annotations

import sys
import unicodedata
from pathlib import Path

import pytest

from mmx.cache.store import open_store
from mmx.data.dataset import load_items
from mmx.extract.encoders import open_encoder
from mmx.extract.pipeline import extract
from mmx.extract.stages.load import clean_text
from tests.catalogue import write_items

WRITTEN = [
    "می\u200cخواهم",  # Persian: the non-joiner is spelling
    "क्\u200dष and 👩\u200d🔬",  # Hindi and emoji: the joiner is, too
    "Donau\u00addampf\u00adschiff",
    "10\u00a0000\u202fkm",
    "ideographic\u3000space",
    "new \U0001fae9 \U0001faea",  # emoji of Unicode 16 and 17
    "private \ue000\U0010fffd",
    "\u202bשלום\u202c",
    "❤\ufe0f",
    "two\nlines",
]


@pytest.mark.parametrize("text", WRITTEN)
def test_what_is_written_stays(text: str) -> None:
    assert clean_text(text) == (text, "ok")


def test_every_character_but_controls_stays() -> None:
    every = [chr(code) for code in range(sys.maxunicode + 1)]
    shown = [c if unicodedata.category(c) not in ("Cc", "Cs") or c == "\n" else " " for c in every]
    assert clean_text("a" + "b".join(every) + "c") == ("a" + "b".join(shown) + "c", "ok")


@pytest.mark.parametrize(
    ("text", "clean"),
    [("a\x00b", "a b"), ("a\tb\r\nc", "a b \nc"), ("a\x85b", "a b"), ("\ud83dx\udc00", "x")],
)
def test_controls_and_lone_surrogates_become_spaces(text: str, clean: str) -> None:
    assert clean_text(text) == (clean, "ok")


@pytest.mark.parametrize(
    "text",
    [None, "", " \n\t", "\x00\x01", "\u00a0\u3000", "\u200b", "\u200c \u200d", "\u00ad", "\ufeff",
     "\u202e\u202c", "\ufe0f", "\u2060\u3164", "\U000e0020", "\ud800"],
)  # fmt: skip
def test_a_text_in_which_nothing_shows_is_missing(text: str | None) -> None:
    assert clean_text(text) == (None, "missing")


def test_such_texts_come_through_an_extraction(tmp_path: Path) -> None:
    rows = [{"item_id": f"i{n}", "text": text} for n, text in enumerate([*WRITTEN, "\u200b"])]
    items = load_items(write_items(tmp_path / "data", rows))
    for spec in ("toy", "clip:mini"):
        report = extract(items, open_encoder(spec), tmp_path / f"{spec}.parquet")
        assert report.statuses["text"] == {"ok": len(WRITTEN), "missing": 1}


def test_only_a_text_that_is_read_otherwise_now_is_encoded_again(tmp_path: Path) -> None:
    """The hash is of the text that the encoder sees, so that spaces at the ends change nothing."""
    texts = [{"item_id": f"i{n}", "text": text} for n, text in enumerate(["a b", "c", "d"])]
    first = load_items(write_items(tmp_path / "1", texts))
    extract(first, open_encoder("toy"), tmp_path / "s.parquet")
    texts[0]["text"], texts[1]["text"] = "a\u00a0b", " c\n"
    report = extract(
        load_items(write_items(tmp_path / "2", texts)), open_encoder("toy"), tmp_path / "s.parquet"
    )
    assert (report.encoded, report.reused) == (1, 2)
    assert open_store(tmp_path / "s.parquet").rows == 3
