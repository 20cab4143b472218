"""Stores united and filtered: rows by item_id, never mixed, never onto what is there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmx.cache.store import open_store
from mmx.cache.tools import Target, filter_store, unite
from mmx.errors import DataError, MmxError, OptionError, QueryError, StoreError, TargetError
from tests.cache.stores import CARD, make_store, names, rows


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """a holds i0 … i9, b holds i6 … i12 and has i6 … i9 again."""
    a = make_store(tmp_path / "a.parquet", [f"i{n}" for n in range(10)])
    b = make_store(tmp_path / "b.parquet", [f"i{n}" for n in range(6, 13)], seed=9, max_file_rows=4)
    return a.path, b.path


@pytest.mark.parametrize("duplicates", ["last", "first"])
def test_united_by_item_id(two: tuple[Path, Path], tmp_path: Path, duplicates: str) -> None:
    out = tmp_path / "c.parquet"
    assert unite(two, Target(out), duplicates) == 13
    a, b = (rows(open_store(path)) for path in two)
    expected = {row["item_id"]: row for row in (a + b if duplicates == "last" else b + a)}
    assert rows(open_store(out)) == [expected[f"i{n}"] for n in range(13)]
    assert open_store(out).card == CARD


def test_repetition_can_be_an_error(two: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"4 items occur more than once \(i6, i7, i8 and 1 more\)"):
        unite(two, Target(tmp_path / "c.parquet"), "error")
    make_store(tmp_path / "d.parquet", ["x"])
    assert unite([two[0], tmp_path / "d.parquet"], Target(tmp_path / "c.parquet"), "error") == 11


def test_other_encoders_are_never_mixed(two: tuple[Path, Path], tmp_path: Path) -> None:
    other = make_store(tmp_path / "x", card=replace(CARD, architecture="y", precision="bfloat16"))
    with pytest.raises(StoreError, match=r"differ in architecture, precision.*extract one"):
        unite([two[0], other.path], Target(tmp_path / "c"))
    texts = make_store(tmp_path / "t", card=replace(CARD, dimensions={"text": 2}))
    with pytest.raises(StoreError, match=r"holds image, text, .* holds text.*--features"):
        unite([two[0], texts.path], Target(tmp_path / "c"))
    half = make_store(tmp_path / "h", dtype="float16")
    with pytest.raises(StoreError, match="float16; extract one of them again with --dtype"):
        unite([two[0], half.path], Target(tmp_path / "c"))
    assert names(tmp_path) == ["a.parquet", "b.parquet", "h", "t", "x"]


def test_nothing_is_overwritten_unasked(two: tuple[Path, Path], tmp_path: Path) -> None:
    before = two[0].read_bytes()
    with pytest.raises(TargetError, match="exists; set --out elsewhere, or --overwrite"):
        unite(two, Target(two[0]))
    assert two[0].read_bytes() == before
    assert unite(two, Target(two[0], overwrite=True)) == 13  # even onto one that is read
    assert open_store(two[0]).rows == 13
    (tmp_path / "c.parquet.parts").mkdir()
    with pytest.raises(StoreError, match="unfinished extraction"):
        unite(two, Target(tmp_path / "c.parquet"))


def test_versions_of_all_rows_are_named(two: tuple[Path, Path], tmp_path: Path) -> None:
    unite(two, Target(tmp_path / "c"))
    assert open_store(tmp_path / "c").versions == open_store(two[0]).versions
    assert open_store(tmp_path / "c").items_fingerprint == ""


@pytest.mark.parametrize(
    "where",
    [
        "image is not null and text_status = 'missing'",
        "array_inner_product(image, image) > 2.5",
        "text_tokens between 3 and 9 -- and no more",
        "item_id like 'i1%' or text[1] < 0",
    ],
)
def test_filtered_by_sql(tmp_path: Path, where: str) -> None:
    store = make_store(tmp_path / "a.parquet", max_file_rows=8)
    count, _ = filter_store(store.path, Target(tmp_path / "b.parquet"), where=where)
    arrays = "* replace (image::float[3] as image, text::float[2] as text)"
    files = [str(file) for file in store.files]
    ids = duckdb.sql(
        f"select item_id from (select {arrays} from read_parquet({files})) where {where}"
    ).fetchall()
    expected = [row for row in rows(store) if (row["item_id"],) in ids]
    assert 0 < count == len(expected) < 20
    assert rows(open_store(tmp_path / "b.parquet")) == expected


@pytest.mark.parametrize("suffix", ["txt", "csv", "parquet"])
def test_filtered_by_a_list(tmp_path: Path, suffix: str) -> None:
    """Ids are text, 007 is not 7; the store's order stays."""
    store = make_store(tmp_path / "a.parquet", ["7", "b", "007", "d e", "é"])
    wanted, file = ["é", "007", "d e"], tmp_path / f"ids.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.table({"x": [1, 2, 3], "item_id": wanted}), file)
    elif suffix == "csv":
        file.write_text("x,item_id\n" + "\n".join(f"1,{name}" for name in wanted))
    else:
        file.write_text("\n".join(["", *wanted, ""]))
    assert filter_store(store.path, Target(tmp_path / "b"), items=file) == (3, 0)
    assert [row["item_id"] for row in rows(open_store(tmp_path / "b"))] == ["007", "d e", "é"]
    where = "image is null or item_id = 'é'"
    assert filter_store(store.path, Target(tmp_path / "c"), items=file, where=where) == (1, 0)


def test_listed_items_must_be_there(tmp_path: Path) -> None:
    store, file = make_store(tmp_path / "a"), tmp_path / "ids.txt"
    file.write_text("i3\nnone\nnothing\nnone\ni3\n")
    with pytest.raises(
        StoreError, match=r"2 items that .* lacks \(none, nothing\).*--unknown-items"
    ):
        filter_store(store.path, Target(tmp_path / "b"), items=file)
    assert filter_store(store.path, Target(tmp_path / "b"), items=file, unknown="drop") == (1, 2)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({}, OptionError, "--where CONDITION, --items FILE"),
        ({"where": "imge is null"}, QueryError, "imge.*columns: item_id, image"),
        ({"where": "item_id = 'no'"}, StoreError, "no row of"),
        ({"items": Path("nowhere.txt")}, DataError, "nowhere.txt: no such file"),
        ({"items": Path("nowhere.csv")}, DataError, "nowhere.csv: no such file"),
        ({"where": "true", "unknown": "x"}, OptionError, "--unknown-items x is .*: error, drop"),
        ({"where": "true", "unknown": "drop"}, OptionError, "--unknown-items needs --items"),
        ({"where": ["true", "text is null", "text is not null"]}, StoreError, "no row of"),
    ],
)
def test_mistakes(tmp_path: Path, options: dict, error: type[MmxError], said: str) -> None:
    store = make_store(tmp_path / "a")
    with pytest.raises(error, match=said):
        filter_store(store.path, Target(tmp_path / "b"), **options)
    assert names(tmp_path) == ["a"]
