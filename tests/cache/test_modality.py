"""What a column of vectors may be called."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mmx.cache.export import export
from mmx.cache.modality import LONGEST, in_order, name_fault, names_fault
from mmx.cache.schema import status_columns, store_schema
from mmx.errors import StoreError
from tests.cache.stores import CARD, make_store


@pytest.mark.parametrize(
    "name", ["image", "audio", "video-2", "a_b", "Ton", "звук", "x", "a" * LONGEST]
)
def test_fit_names(name: str) -> None:
    assert name_fault(name) is None


@pytest.mark.parametrize(
    "name",
    ["", "item_id", "ITEM_ID", "text_truncated", "x_status", "X_Status", "mmx_file", "a b", "a/b",
     "../a", "a.b", "a:b", "a,b", "_a", "-a", "7", "a\n", "a\0", 'a"', "a" * (LONGEST + 1)],
)  # fmt: skip
def test_unfit_names(name: str) -> None:
    assert "cannot name vectors" in (name_fault(name) or "")
    assert names_fault(["image", name])


def test_names_of_one_store_differ_by_more_than_capitals() -> None:
    assert "one column in SQL" in (names_fault(["audio", "Audio"]) or "")
    assert names_fault(["audio", "audios"]) is None


def test_ours_come_first() -> None:
    assert in_order(["video", "fused", "audio", "image"]) == ["image", "fused", "audio", "video"]


def test_every_modality_has_a_status() -> None:
    card = replace(CARD, dimensions={"audio": 3, "fused": 2, "review": 2})
    names = ("image_status", "text_status", "fused_status", "audio_status", "review_status")
    assert status_columns(card) == names
    assert set(names) <= set(store_schema(card, "float32").names)
    alone = store_schema(replace(card, dimensions={"audio": 3}), "float32").names
    assert alone == ["item_id", "audio", "audio_status", "content_hash"]


def test_a_name_from_a_file_is_not_a_path(tmp_path: Path) -> None:
    """A store of another hand opens under any name, and nothing is written outside of --out."""
    make_store(tmp_path / "a", card=replace(CARD, dimensions={"../b": 3}))
    with pytest.raises(StoreError, match="cannot name vectors"):
        export(tmp_path / "a", "npy", tmp_path / "out")
    assert not list(tmp_path.glob("b*"))
