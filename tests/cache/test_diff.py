"""What differs between two stores, against a count made by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmx.cache import diff as differing
from mmx.cache.diff import diff
from tests.cache.stores import CARD, make_store, rows_of


@pytest.mark.parametrize("limit", [None, 8])
def test_a_store_equals_itself_in_any_order_and_cut(tmp_path: Path, limit: int | None) -> None:
    ids = [f"i{n}" for n in range(20)]
    columns = rows_of(ids)
    order = np.random.default_rng(0).permutation(20)
    shuffled = {name: [values[n] for n in order] for name, values in columns.items()}
    a = make_store(tmp_path / "a")
    b = make_store(tmp_path / "b", shuffled.pop("item_id"), max_file_rows=limit, **shuffled)
    found = diff(a.path, b.path)
    assert found.equal
    assert not found.same_order
    assert (found.common, found.vectors["image"].compared) == (20, 17)
    assert diff(a.path, a.path).same_order


@pytest.mark.parametrize("at_once", [1, 4096])
def test_every_difference_is_found(
    tmp_path: Path, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(differing, "AT_ONCE", at_once)
    a = make_store(tmp_path / "a", ["gone", "i0", "i1", "i2", "i3", "i4"])
    columns = rows_of(["gone", "i0", "i1", "i2", "i3", "i4"])
    columns = {name: values[1:] for name, values in columns.items()}
    image = columns["image"]
    assert image[0] is None  # i0 lacks a picture in a, and has one in b
    image[0], columns["image_status"][0] = [1.0, 0.0, 0.0], "ok"
    image[2] = [x + 0.25 for x in image[2]]
    image[3] = [image[3][0], image[3][1] - 2.0, image[3][2]]
    columns["content_hash"][4] = "another"
    ids = [*columns.pop("item_id")[:-1], "i4", "new", "newer"]
    more = rows_of(["new", "newer"])
    columns = {name: [*values, *more[name]] for name, values in columns.items()}
    b = make_store(tmp_path / "b", ids, card=replace(CARD, name="other"), **columns)
    found = diff(a.path, b.path, worst=1)
    assert not found.equal
    assert (found.common, found.only_in_a, found.only_in_b) == (5, 1, 2)
    assert (found.only_in_a_ids, found.only_in_b_ids) == (["gone"], ["new", "newer"])
    assert found.content_hash == 1
    assert found.statuses == {"image": {"corrupt → ok": 1}}
    assert found.card == {"name": ("fake", "other")}
    images, texts = found.vectors["image"], found.vectors["text"]
    assert (images.compared, images.differing) == (4, 2)
    assert (texts.compared, texts.differing, texts.min_cosine) == (4, 0, 1.0)
    old = np.array(rows_of(["gone", "i0", "i1", "i2", "i3"])["image"][4], np.float64)
    new = np.array(image[3], np.float32).astype(np.float64)
    cosine = old @ new / np.linalg.norm(old) / np.linalg.norm(new)
    assert images.max_abs == pytest.approx(2.0, abs=1e-6)
    assert [row["item_id"] for row in images.worst] == ["i3"]
    assert images.worst[0]["cosine"] == pytest.approx(cosine)
    assert images.min_cosine <= images.worst[0]["cosine"]
    assert json.loads(json.dumps(found.as_dict()))["content_hash"] == 1


def test_the_smallest_change_of_one_number_is_a_difference(tmp_path: Path) -> None:
    columns = rows_of([f"i{n}" for n in range(20)])
    a = make_store(tmp_path / "a")
    columns["text"][7][1] = np.nextafter(np.float32(columns["text"][7][1]), np.float32(9))
    found = diff(a.path, make_store(tmp_path / "b", **{"text": columns["text"]}).path)
    assert not found.equal
    assert found.vectors["text"].differing == 1
    assert found.vectors["text"].worst[0]["item_id"] == "i7"
    assert 0 < found.vectors["text"].max_abs < 1e-6


def test_the_worst_come_first_whatever_the_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = make_store(tmp_path / "a"), make_store(tmp_path / "b", seed=1)
    whole = diff(a.path, b.path, worst=5).vectors["image"].worst
    assert [row["max_abs"] for row in whole] == sorted(row["max_abs"] for row in whole)[::-1]
    monkeypatch.setattr(differing, "AT_ONCE", 3)
    assert diff(a.path, b.path, worst=5).vectors["image"].worst == whole


def test_other_modalities_and_sizes_are_not_compared(tmp_path: Path) -> None:
    a = make_store(tmp_path / "a")
    b = make_store(tmp_path / "b", card=replace(CARD, dimensions={"text": 4}))
    found = diff(a.path, b.path)
    assert found.incomparable == ["image", "text"]
    assert not found.vectors
    assert not found.equal
    assert found.card == {"dimensions": ({"image": 3, "text": 2}, {"text": 4})}


def test_precision_of_storage_is_a_difference(tmp_path: Path) -> None:
    a, b = make_store(tmp_path / "a"), make_store(tmp_path / "b", dtype="float16")
    found = diff(a.path, b.path)
    assert found.card == {"dtype": ("float32", "float16")}
    assert found.vectors["image"].differing == 17
    assert 0 < found.vectors["image"].max_abs < 2e-3
    assert not found.equal
