"""``mmx data check``: what is missing, twice or alike among the inputs, and the whole report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmx.data.dataset import load_items
from mmx.data.splits import SplitRule
from mmx.errors import DataError, OptionError
from mmx.extract.checking import alike, inputs
from mmx.extract.checking.check import DataCheck, check_dataset
from tests.catalogue import write_interactions, write_items
from tests.extract.photographs import photograph


def catalogue(folder: Path) -> Path:
    """Two photographs, copies of one in other bytes and sizes, a plain one, and some without."""
    (folder / "p").mkdir(parents=True)
    one, other = photograph(320, 240, 1), photograph(320, 240, 2).rotate(90)
    one.save(folder / "p/a.png")
    (folder / "p/b.png").write_bytes((folder / "p/a.png").read_bytes())
    one.resize((200, 150)).save(folder / "p/c.jpg", quality=80)
    one.save(folder / "p/d.webp", quality=70)
    other.save(folder / "p/e.png")
    Image.new("RGB", (30, 30), (9, 9, 9)).save(folder / "p/f.png")
    (folder / "p/g.png").write_bytes((folder / "p/e.png").read_bytes()[:900])
    images = ["p/a.png", "p/b.png", "p/c.jpg", "p/d.webp", "p/e.png", "p/f.png", "p/g.png",
              "p/none.png", None, "https://shop.example/1.jpg"]  # fmt: skip
    texts = ["Mug", " Mug\t", "mug", "Lamp", "Lamp", "", "\u200b", None, "Jug", "Mug"]
    rows = [
        {"item_id": f"i{n}", "image": image, "text": text}
        for n, (image, text) in enumerate(zip(images, texts, strict=True))
    ]
    return write_items(folder, rows)


def test_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "ROWS", 3)
    items, steps = load_items(str(catalogue(tmp_path / "shop"))), list[tuple[int, int]]()
    found = inputs.check_inputs(items, progress=lambda *done: steps.append(done))
    assert found["pictures"] == {
        "ok": 6, "missing": 1, "not_looked_at": 1, "plain": 1,
        "unreadable": {"file not found": 1, "truncated image": 1},
        "same_file": {"groups": 1, "items": 2, "examples": [["i0", "i1"]]},
        "look_alike": {"groups": 1, "items": 4, "examples": [["i0", "i1", "i2"]]},
    }  # fmt: skip
    assert found["texts"] == {
        "missing": 3,
        "same_text": {"groups": 2, "items": 5, "examples": [["i0", "i1", "i9"], ["i3", "i4"]]},
    }
    assert steps == [(3, 10), (6, 10), (9, 10), (10, 10)]


def test_pictures_can_be_left_out(tmp_path: Path) -> None:
    items = load_items(str(catalogue(tmp_path / "shop")))
    found = inputs.check_inputs(items, pictures=False)["pictures"]
    assert (found["ok"], found["missing"], found["not_looked_at"]) == (0, 1, 9)
    assert inputs.check_inputs(load_items(str(write_items(tmp_path / "none", []))))["pictures"] == {
        "ok": 0, "missing": 0, "not_looked_at": 0, "plain": 0, "unreadable": {},
        "same_file": {"groups": 0, "items": 0, "examples": []},
        "look_alike": {"groups": 0, "items": 0, "examples": []},
    }  # fmt: skip


def test_what_looks_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pair within the bits and the colour, and no other, whatever the order."""
    import duckdb

    def groups(looks: list[tuple[int, int]]) -> dict:
        db = duckdb.connect()
        db.execute("create table seen (n int, item_id text, picture text, shade ubigint, "
                   "r smallint, g smallint, b smallint)")  # fmt: skip
        db.executemany(
            "insert into seen values (?, ?, ?, ?, ?, 0, 0)",
            [(n, f"i{n}", f"p{n}", shade, red) for n, (shade, red) in enumerate(looks)],
        )
        return alike.Alike(db).groups(9)

    far = 0xFFFF_0000_FFFF_0000
    three = far ^ (1 | 1 << 20 | 1 << 63)
    assert groups([(far, 0), (0, 0), (three, 8)])["examples"] == [["i0", "i2"]]
    assert groups([(far, 0), (three, 9)])["groups"] == 0  # another colour
    assert groups([(far, 0), (three ^ 2, 0)])["groups"] == 0  # four bits
    chain = groups([(three ^ 6, 0), (far, 0), (three, 0)])
    assert (chain["groups"], chain["items"], chain["examples"]) == (1, 3, [["i0", "i1", "i2"]])
    assert groups([(far, 0), (far, 0)])["groups"] == 1  # of different files
    monkeypatch.setattr(alike, "CROWD", 1)
    assert groups([(far, 0), (far ^ 1, 0)])["groups"] == 0  # each quarter but one is crowded
    white, light = np.full((9, 9, 3), 255, np.uint8), np.zeros((9, 9, 3), np.uint8)
    assert alike.look_of(white) == {"shade": None, "r": 255, "g": 255, "b": 255, "plain": True}
    light[:, 0], light[:, 1] = 200, 198
    assert alike.look_of(light)["shade"] == 0x4040_4040_4040_4040  # a step of 2 is noise


def shop(folder: Path) -> Path:
    """Two users with ten items each, one with two; i9 is in no interaction, i8 only in the test."""
    catalogue(folder)
    pairs = [("u", n) for n in range(8)] + [("v", n) for n in range(8)] + [("w", 0), ("w", 8)]
    pairs = [(user, f"i{n}") for user, n in [*pairs, ("u", 0)]]
    split = ["train"] * 6 + ["valid", "test"] + ["train"] * 7 + ["test", "train", "test", "test"]
    times = [*range(8), *range(8), 9, 5, 20]
    rating = [5] * 5 + [1] + [5] * 13
    write_interactions(folder, pairs, split=split, timestamp=times, rating=rating)
    return folder


def test_the_whole_report(tmp_path: Path) -> None:
    folder = str(shop(tmp_path / "shop"))
    report = check_dataset(DataCheck(folder, SplitRule(min_rating=2), source="mine"))
    assert report["filters"] == [
        {"step": "read", "interactions": 19, "users": 3, "items": 9},
        {"step": "--min-rating 2", "interactions": 18, "users": 3, "items": 9},
        {"step": "pairs of user and item that repeat", "interactions": 17, "users": 3, "items": 9},
    ]
    parts = report["split"].pop("parts")
    assert {name: part["interactions"] for name, part in parts.items()} == {
        "train": 13, "valid": 1, "test": 3,
    }  # fmt: skip
    assert report["split"] == {
        "rule": "given", "seed": 0, "pairs_in_two_parts": 1, "leaked_share": 0.0,
        "users_without_test": 0, "test_users_without_training": 0, "items_never_in_training": 3,
        "items_without_interaction": 1, "test_interactions_with_such_items": 3,
    }  # fmt: skip
    assert report["popularity"]["top_1"] == 3 / 17
    assert (report["name"], report["items"], report["source"]) == ("shop", 10, "mine")
    assert set(report["content"]) == {
        "item ids, image and text",
        "items.parquet",
        "interactions.parquet",
    }
    before = report["content"]
    pq.write_table(pq.read_table(tmp_path / "shop/items.parquet")[:9], folder + "/items.parquet")
    after = check_dataset(DataCheck(folder))["content"]
    assert [before[name] == after[name] for name in sorted(before)] == [True, False, False]


def test_what_leaks_and_what_cannot_be_split(tmp_path: Path) -> None:
    folder = str(write_items(tmp_path, [{"item_id": f"i{n}"} for n in range(4)]))
    pairs = [("a", "i0"), ("a", "i1"), ("b", "i0"), ("b", "i1"), ("c", "i2")]
    write_interactions(
        tmp_path, pairs, timestamp=[1, 2, 9, 1, 5], split=["test", "train", "train", "test", "test"]
    )
    found = check_dataset(DataCheck(folder))["split"]
    assert found["leaked_share"] == pytest.approx(2 / 3)
    assert (found["users_without_test"], found["test_users_without_training"]) == (0, 1)
    rule = SplitRule("random")
    report = check_dataset(DataCheck(folder, rule))
    assert report["split"]["impossible"].startswith("no test interactions: --split random holds")
    assert report["filters"][0]["interactions"] == 5
    with pytest.raises(OptionError, match="--k-core would change a given split"):
        check_dataset(DataCheck(folder, SplitRule("given", k_core=2)))
    write_interactions(tmp_path, [*pairs, ("a", "x")])
    with pytest.raises(DataError, match="--unknown-items drop"):
        check_dataset(DataCheck(folder, unknown_items="error"))
    dropped = check_dataset(DataCheck(folder))
    assert (dropped["dropped"], dropped["split"]["rule"]) == (1, "random")
    (tmp_path / "interactions.parquet").unlink()
    alone = check_dataset(DataCheck(folder))
    assert (alone["filters"], alone["split"], alone["popularity"]) == ([], {}, {})


def test_a_record_that_is_not_ours_says_nothing(tmp_path: Path) -> None:
    folder = write_items(tmp_path, [{"item_id": "i"}])
    for record in ([], {"format": "csv"}, {"format": 1, "sources": [{"name": 2}], "left_out": [],
                                           "license": 3}):  # fmt: skip
        (folder / "import.json").write_text(json.dumps(record))
        report = check_dataset(DataCheck(str(folder)))
        known = isinstance(record, dict) and "sources" in record
        assert (report["source"], report["license"]) == (("1: 2", "3") if known else (None, None))
