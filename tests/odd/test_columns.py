"""Columns of every Arrow type in every role: read, or refused in one line that names the type."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmx.data.dataset import load_interactions, load_items
from mmx.data.id_lists import read_ids
from mmx.data.splits import SplitRule, split_interactions
from mmx.errors import DataError, MmxError
from mmx.extract.encoders import open_encoder
from mmx.extract.pipeline import extract
from mmx.recommend.fit import fit
from mmx.recommend.job import TrainJob
from tests.cli.conftest import Shop
from tests.odd.arrow_kinds import KINDS, WORDS
from tests.odd.shop import (
    OF_ITEMS,
    OF_LOG,
    all_commands,
    attempt,
    items_table,
    log_table,
    read_both,
    shop_with,
    write_shop,
)

UUID = str(uuid.UUID(int=1))


@pytest.mark.parametrize("role", [*OF_ITEMS, *OF_LOG])
def test_reading_any_type(tmp_path: Path, role: str) -> None:
    """Never anything but rows or an MmxError."""
    for kind, column in KINDS.items():
        data = shop_with(tmp_path / "data", role, column)
        said = attempt(lambda data=data: read_both(data))
        assert said == "done" or role in said, kind


def test_any_type_is_kept(tmp_path: Path) -> None:
    """Further columns of all types at once, through all commands and into the run's items."""
    data = write_shop(tmp_path / "data", items_table(**KINDS), log_table(**KINDS))
    assert set(all_commands(data, tmp_path).values()) == {"done"}
    kept = pq.read_schema(tmp_path / "runs/run/items.parquet").names
    assert set(KINDS) <= set(kept)


@pytest.mark.slow
@pytest.mark.parametrize("role", [*OF_ITEMS, *OF_LOG])
def test_all_commands(tmp_path: Path, role: str) -> None:
    for kind, column in KINDS.items():
        data = shop_with(tmp_path / kind / "data", role, column)
        for command, said in all_commands(data, tmp_path / kind).items():
            assert said == "done" or role in said, (kind, command)


def test_from_the_command_line(tmp_path: Path) -> None:
    ids, users = KINDS["uuid"], KINDS["dictionary of binary"]
    pictures, titles = KINDS["fixed binary latin-1"], KINDS["binary_view latin-1"]
    items = items_table(item_id=ids, image=pictures, title=titles)
    times = KINDS["duration[ns]"]
    write_shop(tmp_path / "data", items, log_table(item_id=ids, user_id=users, timestamp=times))
    shop = Shop(tmp_path)
    shop.mmx("extract", "--model", "toy", "--data", "data")
    shop.mmx("train", "--model", "popularity", "--data", "data", "--out", "runs/a")
    assert {row["user_id"] for row in shop.json("recommend", "runs/a", "--user", "a1")} == {"a1"}
    assert shop.json("sql", "select item_id from items", "--data", "data")[0]["item_id"] == UUID


@pytest.mark.parametrize(("role", "kind"), [("item_id", "binary latin-1"), ("text", "list")])
def test_refused_on_the_command_line(tmp_path: Path, role: str, kind: str) -> None:
    shop_with(tmp_path / "data", role, KINDS[kind])
    line = Shop(tmp_path).refused("extract", "--model", "toy", "--data", "data")
    assert "unexpected" not in line
    assert role in line


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        ("uuid", UUID),
        ("binary", "a1"),
        ("fixed binary", "a1"),
        ("dictionary of binary", "a1"),
        ("dictionary of large_string", "a1"),
        ("binary_view", "a1"),
        ("decimal256 whole", "1"),
        ("opaque", "1"),
    ],
)
def test_ids(tmp_path: Path, kind: str, first: str) -> None:
    data = shop_with(tmp_path, "item_id", KINDS[kind])
    assert load_items(data).ids[0].as_py() == first
    assert read_ids(data / "items.parquet")[0].as_py() == first


@pytest.mark.parametrize("role", ["item_id", "text"])
@pytest.mark.parametrize("kind", ["binary latin-1", "fixed binary latin-1", "binary_view latin-1"])
def test_bytes_that_are_not_text(tmp_path: Path, kind: str, role: str) -> None:
    data = shop_with(tmp_path, role, KINDS[kind])
    said = rf"{role} holds bytes that are not UTF-8 \(row 1, b'\\xe9a"
    with pytest.raises(DataError, match=said):
        load_items(data)


@pytest.mark.parametrize("role", ["item_id", "image", "text", "split"])
def test_text_columns_that_hold_other_bytes(tmp_path: Path, role: str) -> None:
    """Arrow's strings are not looked at when they are read."""
    bad = pa.array([b"\xe9", *[word.encode() for word in WORDS[1:]]])
    column = pa.StringArray.from_buffers(len(bad), bad.buffers()[1], bad.buffers()[2])
    data = shop_with(tmp_path, role, column)
    with pytest.raises(DataError, match=rf"{role} holds bytes that are not UTF-8 \(row 1"):
        read_both(data)


def test_uuids_of_another_writer(tmp_path: Path) -> None:
    """Parquet's own UUIDs, as DuckDB writes them, and what Arrow's schema does not say."""
    query = f"select '{UUID}'::uuid as item_id, 'a text' as text"
    duckdb.sql(f"copy ({query}) to '{tmp_path / 'items.parquet'}'")
    assert load_items(tmp_path).ids.to_pylist() == [UUID]
    bare = pa.table({"item_id": KINDS["uuid"], "text": WORDS})
    pq.write_table(bare, tmp_path / "items.parquet", store_schema=False)
    assert load_items(tmp_path).ids[0].as_py() == UUID


def test_a_picture_of_fixed_size(tmp_path: Path) -> None:
    """Bytes of whatever kind are pictures, and not a path."""
    for kind in ("fixed binary latin-1", "dictionary of binary latin-1", "binary_view latin-1"):
        data = shop_with(tmp_path / kind, "image", KINDS[kind])
        report = extract(load_items(data), open_encoder("toy"), tmp_path / kind / "toy.parquet")
        assert sum(report.failures.values()) == len(WORDS)  # no pictures, but read


def test_a_picture_in_odd_fields(tmp_path: Path) -> None:
    data = shop_with(tmp_path, "image", KINDS["struct of odd bytes"])
    with pytest.raises(DataError, match=r"image is struct<bytes: int64>; struct<bytes: binary, pa"):
        load_items(data)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("timestamp[ns]", 1_577_836_800_000_000),
        ("timestamp with zone", 1_577_836_800_000_000),
        ("timestamp with odd ns", 10**15 + 7),  # ns, since µs would lose some
        ("duration[ms]", 86_400_000),
        ("time32[ms]", 3_600_000),
        ("date32", 1_577_836_800_000_000),
        ("decimal128 whole", 1),
        ("decimal128 cents", 0.01),
        ("dictionary of timestamp", 1_577_836_800_000_000),
    ],
)
def test_times(tmp_path: Path, kind: str, expected: float) -> None:
    data = shop_with(tmp_path, "timestamp", KINDS[kind])
    times = load_interactions(data, load_items(data))["timestamp"].to_pylist()
    assert times[0] == expected
    assert times == sorted(set(times))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("decimal128 cents", 0.01), ("bool", 1.0), ("uint64 large", 2.0**64), ("halffloat", 1.0)],
)
def test_ratings(tmp_path: Path, kind: str, expected: float) -> None:
    data = shop_with(tmp_path, "rating", KINDS[kind])
    assert load_interactions(data, load_items(data))["rating"][0].as_py() == expected


@pytest.mark.parametrize("kind", ["string", "nulls of int64", "timestamp[us]", "list", "nan"])
def test_a_rating_matters_where_it_is_used(tmp_path: Path, kind: str) -> None:
    data = shop_with(tmp_path, "rating", KINDS[kind])
    items = load_items(data)
    assert "rating" not in load_interactions(data, items, rule=SplitRule()).column_names
    used = SplitRule(min_rating=1.0)
    with pytest.raises(DataError, match="rating"):
        load_interactions(data, items, rule=used)
    fit(TrainJob(data, "popularity"), tmp_path / "a")
    with pytest.raises(DataError, match="rating"):
        fit(TrainJob(data, "popularity", split=used), tmp_path / "b")


def test_a_split_matters_where_it_is_used(tmp_path: Path) -> None:
    data = shop_with(tmp_path, "split", KINDS["string"])
    items, rule = load_items(data), SplitRule("leave-one-out")
    log = load_interactions(data, items, rule=rule)
    assert log.column_names == ["user_id", "item_id"]
    with pytest.raises(DataError, match="split holds a1"):
        load_interactions(data, items, rule=SplitRule("given"))


def test_a_timestamp_always_matters(tmp_path: Path) -> None:
    """Of a pair that occurs twice the first counts, whatever the split."""
    data = shop_with(tmp_path, "timestamp", KINDS["half null int64"])
    with pytest.raises(DataError, match="2 rows have no timestamp, which says the order of"):
        load_interactions(data, load_items(data), rule=SplitRule("random"))


def test_times_order_what_is_held_out(tmp_path: Path) -> None:
    """The last of a user is its test item, whatever unit says so."""
    moments = [dt.timedelta(microseconds=n) for n in (3, 2, 1)]
    for kind in (pa.duration("ns"), pa.duration("us")):
        log = pa.table(
            {"user_id": ["u"] * 3, "item_id": WORDS[:3], "timestamp": pa.array(moments, kind)}
        )
        data = write_shop(tmp_path, items_table(), log)
        found = load_interactions(data, load_items(data))
        split = split_interactions(found, SplitRule("leave-one-out"))
        assert split["split"].to_pylist() == ["test", "valid", "train"]


@pytest.mark.parametrize("name", ["item_id", "image", "text", "title", "x"])
def test_a_column_of_the_items_twice(tmp_path: Path, name: str) -> None:
    column = pa.array([f"{word}.jpg" for word in WORDS])
    table = items_table(image=column, title=column, x=KINDS["binary"])
    data = write_shop(tmp_path, table.append_column(name, table[name]), log_table())
    said = rf"items.parquet has the column {name} twice; rename or remove one"
    with pytest.raises(DataError, match=said):
        load_items(data)
    if name == "item_id":
        with pytest.raises(DataError, match=said):
            read_ids(data / "items.parquet")


def test_a_column_of_the_log_twice(tmp_path: Path) -> None:
    table = log_table(timestamp=KINDS["int64"])
    for name in table.column_names:
        data = write_shop(tmp_path, items_table(), table.append_column(name, table[name]))
        with pytest.raises(DataError, match=f"interactions.parquet has the column {name} twice"):
            read_both(data)


ODD_NAMES = ("", " ", "a.b", 'q"q', "x'y", "\n", "é", "select", ";--", "embedding", "filename",
             "ITEM_ID", "mmx_row", "file_row_number", "image_status", "a\0b", "score")  # fmt: skip


def test_columns_of_any_name(tmp_path: Path) -> None:
    more = dict.fromkeys(ODD_NAMES, KINDS["int64"])
    data = write_shop(tmp_path / "data", items_table(**more), log_table(**more))
    assert set(all_commands(data, tmp_path).values()) == {"done"}


def test_tables_without_rows(tmp_path: Path) -> None:
    for items, log in (
        (items_table()[:0], log_table()),
        (items_table(), log_table()[:0]),
        (items_table()[:0], log_table()[:0]),
        (pa.table({}), pa.table({})),
    ):
        said = all_commands(write_shop(tmp_path / "data", items, log), tmp_path / "out")
        assert said["train"] != "done"


def test_row_groups_of_no_rows(tmp_path: Path) -> None:
    data = write_shop(tmp_path / "data", items_table(), log_table())
    with pq.ParquetWriter(data / "items.parquet", items_table().schema) as writer:
        for part in (items_table()[:0], items_table()[:2], items_table()[:0], items_table()[2:]):
            writer.write_table(part)
    assert set(all_commands(data, tmp_path).values()) == {"done"}


def test_decimals_keep_their_order(tmp_path: Path) -> None:
    """Past 2^53 a float64 would make equal times of them."""
    times = pa.array([Decimal(2**60 + n) for n in range(6)], pa.decimal128(38, 0))
    data = shop_with(tmp_path, "timestamp", times)
    found = load_interactions(data, load_items(data))["timestamp"].to_pylist()
    assert found == [2**60 + n for n in range(6)]


def test_nothing_to_encode(tmp_path: Path) -> None:
    """A table in which nothing is called image or text."""
    write_shop(tmp_path / "data", pa.table({"item_id": WORDS, "title": WORDS}), log_table())
    shop = Shop(tmp_path)
    line = shop.refused("extract", "--model", "toy", "--data", "data")
    assert "nothing to encode: toy reads the column image or text" in line
    assert "(columns: item_id, title)" in line
    assert not (tmp_path / "cache").exists()
    shop.mmx("train", "--model", "popularity", "--data", "data")  # which needs neither


@pytest.mark.parametrize(("modality", "other"), [("image", "text"), ("text", "image")])
def test_nothing_of_the_one_modality(tmp_path: Path, modality: str, other: str) -> None:
    table = pa.table({"item_id": WORDS, other: WORDS, modality: [None, "", " ", None, "", ""]})
    data = write_shop(tmp_path / "data", table, log_table())
    encoder = open_encoder("toy", modalities=(modality,))
    with pytest.raises(MmxError, match=f"nothing to encode: toy reads the column {modality}, and"):
        extract(load_items(data), encoder, tmp_path / "a.parquet")
