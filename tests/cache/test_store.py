"""A store is an ordinary Parquet file that says what it is."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmx.cache.card import EncoderCard
from mmx.cache.store import open_store
from mmx.errors import StoreError
from tests.cache.small_store import CARD, IMAGE, TEXT, store
from tests.cache.stores import make_store, rows_of


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_other_tools_read_it_unaided(tmp_path: Path, dtype: str) -> None:
    path = store(tmp_path / "fake.parquet", dtype=dtype)
    rows = duckdb.sql(f"select item_id, image from '{path}' order by item_id").fetchall()
    assert rows == list(zip("abc", [v and v for v in IMAGE], strict=True))
    frame = pd.read_parquet(path)
    assert frame["image"][2].tolist() == IMAGE[2]
    assert frame["image"][1] is None
    assert pl.read_parquet(path)["text"].to_list() == TEXT


def test_vectors_join_by_id_whatever_the_order(tmp_path: Path) -> None:
    opened = open_store(store(tmp_path / "fake.parquet"))
    matrix, present = opened.vectors("image", pa.array(["c", "unknown", "b", "a"]))
    assert present.tolist() == [True, False, False, True]
    np.testing.assert_array_equal(matrix[[0, 3]], np.array([IMAGE[2], IMAGE[0]], np.float32))
    with pytest.raises(StoreError, match="has no fused vectors; it has image, text"):
        opened.vectors("fused", pa.array(["a"]))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_ids_of_any_kind_of_text_and_any_number_of_times(tmp_path: Path, dtype: str) -> None:
    path = make_store(tmp_path / "a", 20, block=3, dtype=dtype, max_file_rows=7).path
    names = [f"i{n}" for n in np.random.default_rng(0).integers(0, 25, 60)]
    columns = rows_of([f"i{n}" for n in range(20)], dtype=dtype)
    known = dict(zip(columns["item_id"], columns["image"], strict=True))
    expected = [known.get(name) for name in names]
    chunks = pa.chunked_array([names[:9], [], names[9:]], pa.large_string())
    for ids in (pa.array(names), pa.array(names, pa.string_view()), chunks):
        matrix, present = open_store(path).vectors("image", ids)
        assert present.tolist() == [v is not None for v in expected]
        wanted = [v if v is not None else [0, 0, 0] for v in expected]
        np.testing.assert_array_equal(matrix, np.array(wanted, np.float32))
    assert open_store(path).vectors("image", pa.array([], pa.string()))[0].shape == (0, 3)


def test_row_groups_without_the_wanted_items_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, read = make_store(tmp_path / "a", 40, block=4), []
    original = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_group", lambda f, g, **o: read.append(g) or original(f, g, **o)
    )
    assert opened.vectors("image", pa.array(["i9", "i30", "i11"]))[1].all()
    assert read == [2, 7]


def test_card_and_counts_come_back(tmp_path: Path) -> None:
    opened = open_store(store(tmp_path / "fake.parquet"))
    assert opened.card == CARD
    assert opened.rows == 3
    assert opened.status_counts() == {
        "image": {"ok": 2, "file not found": 1},
        "text": {"ok": 2, "missing": 1},
    }
    assert opened.verify() == []


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"image_status": ["ok", "ok", "ok"]}, "1 rows whose image_status contradicts image"),
        ({"image": [[1, 2, float("nan")], None, [1, 2, 3]]}, "1 image vectors not finite"),
        ({"text": [[0, 0], [1, 0], None]}, "1 text vectors are zero"),
        ({"text": [[2e38, 0], [1, 0], None]}, "1 text vectors too large to sum their squares"),
        ({"item_id": ["a", "a", "c"]}, "some item_id occurs more than once"),
    ],
)
def test_verify_finds(tmp_path: Path, columns: dict, problem: str) -> None:
    assert open_store(store(tmp_path / "fake.parquet", **columns)).verify() == [problem]


def test_a_directory_of_files_is_a_store(tmp_path: Path) -> None:
    folder = tmp_path / "fake.parquet"
    folder.mkdir()
    store(folder / "0.parquet")
    store(folder / "1.parquet", item_id=["d", "e", "f"])
    opened = open_store(folder)
    assert opened.rows == 6
    assert opened.vectors("text", pa.array(["e", "a"]))[0].tolist() == [[0, 1], [1, 0]]


def test_what_is_not_a_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store at"):
        open_store(tmp_path / "none.parquet")
    pq.write_table(pa.table({"item_id": ["a"]}), tmp_path / "plain.parquet")
    with pytest.raises(StoreError, match="not an embedding store"):
        open_store(tmp_path / "plain.parquet")
    whole = store(tmp_path / "fake.parquet").read_bytes()
    (tmp_path / "fake.parquet").write_bytes(whole[:-20])
    with pytest.raises(StoreError, match=r"is damaged \(its end is missing\); delete it and"):
        open_store(tmp_path / "fake.parquet")


def test_cards_differ_only_by_what_changes_vectors() -> None:
    from dataclasses import replace

    assert CARD.differences(replace(CARD, name="other")) == []
    assert CARD.differences(replace(CARD, precision="bfloat16")) == ["precision"]
    hashed = replace(CARD, parameters_sha256="x", weights="file.pt")
    assert hashed.differences(replace(hashed, weights="elsewhere.pt")) == []
    assert EncoderCard.from_json(CARD.to_json()) == CARD
