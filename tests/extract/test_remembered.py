"""The hint of what an encoder was when it was opened last: anything unclear means unknown."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mmx.cache.card import EncoderCard
from mmx.extract.encoders.toy import Toy
from mmx.extract.opening import Opening, card_without_opening
from mmx.extract.remembered import MOST_FILES, MOST_HINTS, hint_of, recall, remember, stamps
from mmx.extract.settings import Before
from mmx.extract.workers.job import Recipe

CARD: EncoderCard = Toy().card
LATER = 1 << 62  # ns since 1970


@pytest.fixture
def hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    return hint_of({"model": "x"})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights").write_bytes(b"1234")
    return folder


def test_the_card_comes_back(hint: Path, model: Path) -> None:
    assert recall(hint) is None
    remember(hint, CARD, [model, model / "tokenizer.json"], LATER)
    assert recall(hint) == CARD


@pytest.mark.parametrize("what", ["grown", "same size", "appeared", "gone", "renamed over"])
def test_a_change_of_what_was_read_is_noticed(hint: Path, model: Path, what: str) -> None:
    file, absent = model / "weights", model.parent / "other"
    remember(hint, CARD, [model, absent], LATER)
    facts = file.stat()
    if what == "grown":
        file.write_bytes(b"12345")
    if what == "same size":
        time.sleep(0.02)  # the clock of the file system ticks
        file.write_bytes(b"4321")
        os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    if what == "appeared":
        absent.write_bytes(b"")
    if what == "gone":
        file.unlink()
    if what == "renamed over":
        time.sleep(0.02)
        (model.parent / "new").write_bytes(b"4321")
        os.utime(model.parent / "new", ns=(facts.st_atime_ns, facts.st_mtime_ns))
        (model.parent / "new").rename(file)
    assert recall(hint) is None


def test_what_changed_while_it_was_read_is_not_kept(hint: Path, model: Path) -> None:
    remember(hint, CARD, [model], 0)
    assert recall(hint) is None


def test_what_was_read_from_nowhere_is_not_kept(hint: Path, tmp_path: Path) -> None:
    remember(hint, CARD, [tmp_path / "absent"], LATER)
    assert not hint.exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": {"/": null}, "card": 3}', "\xff"])
def test_a_damaged_hint_is_none(hint: Path, text: str) -> None:
    hint.parent.mkdir(parents=True)
    hint.write_text(text, encoding="latin-1")
    assert recall(hint) is None


def test_a_hint_with_a_wrong_card_is_none(hint: Path, model: Path) -> None:
    remember(hint, CARD, [model], LATER)
    found = json.loads(hint.read_text())
    hint.write_text(json.dumps({**found, "card": {**found["card"], "dimensions": {"image": "8"}}}))
    assert recall(hint) is None


def test_other_requests_and_places_have_other_hints(
    hint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hint_of({"model": "x"}) == hint
    assert hint_of({"model": "y"}) != hint
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert hint_of({"model": "x"}) != hint
    monkeypatch.delenv("HF_HOME")
    monkeypatch.chdir(tmp_path)
    assert hint_of({"model": "x"}).name != hint.name


def test_a_large_folder_is_not_remembered(hint: Path, model: Path) -> None:
    for number in range(MOST_FILES):
        (model / str(number)).touch()
    with pytest.raises(ValueError, match="too many"):
        stamps(model)
    remember(hint, CARD, [model], LATER)
    assert not hint.exists()


def test_old_hints_are_deleted(hint: Path, model: Path) -> None:
    hint.parent.mkdir(parents=True)
    for number in range(MOST_HINTS + 5):
        old = hint.with_name(f"{number}.json")
        old.touch()
        os.utime(old, (number, number))
    remember(hint, CARD, [model], LATER)
    assert len(list(hint.parent.glob("*.json"))) == MOST_HINTS
    assert recall(hint) == CARD


def test_a_cache_that_cannot_be_written_is_no_error(hint: Path, model: Path) -> None:
    hint.parent.parent.parent.mkdir(parents=True, exist_ok=True)
    hint.parent.parent.write_text("a file")
    remember(hint, CARD, [model], LATER)
    assert recall(hint) is None


def test_a_card_that_is_not_that_of_the_store_decides_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may be a wrong one: the encoder is opened and compared before anything is refused."""
    opening, mine = Opening(Recipe("toy"), "cpu"), CARD
    monkeypatch.setattr(Opening, "remembered", lambda self: mine)
    before = Before(precision="float32")
    assert card_without_opening(opening, before, mine, "auto") == mine
    other = replace(mine, weights="others")
    assert card_without_opening(opening, before, other, "auto") is None
    assert card_without_opening(opening, before, mine, "bfloat16") is None
