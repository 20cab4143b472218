"""Ids come through extract, train, recommend and SQL as they are written, from CSV and Parquet."""

from __future__ import annotations

import csv
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmx.data.csvs.format import CsvFormat
from mmx.data.dataset import load_interactions, load_items
from mmx.errors import DataError, OptionError
from mmx.extract.encoders import open_encoder
from mmx.extract.options import ExtractOptions
from mmx.extract.pipeline import extract
from mmx.recommend.features import FeatureSpec
from mmx.recommend.fit import fit
from mmx.recommend.job import TrainJob
from mmx.recommend.recommend_options import RecommendOptions
from mmx.recommend.recommendation import recommend, recommend_all
from mmx.recommend.run import open_run
from mmx.sql import open_sql
from tests.cli.conftest import Shop
from tests.csv_logs import ANY, Log, write_log, written

pytestmark = pytest.mark.slow


def check(folder: Path, log: Log) -> None:
    """All that is made of the dataset in ``folder`` has the ids of the log."""
    items = load_items(folder)
    found = load_interactions(folder, items)
    assert items.ids.to_pylist() == list(log.items)
    assert items.table["text"].to_pylist() == [text or None for text in log.texts]
    read = zip(*(found[name].to_pylist() for name in ("user_id", "item_id", "split")), strict=True)
    assert list(read) == log.pairs
    store = folder / "cache" / "toy.parquet"
    options = ExtractOptions(batch_size=4, part_size=4)
    if not any(text.strip() for text in log.texts):
        with pytest.raises(DataError, match="nothing to encode"):
            extract(items, open_encoder("toy"), store, options)
        return
    extract(items, open_encoder("toy"), store, options)
    assert pq.read_table(store)["item_id"].to_pylist() == list(log.items)
    features = [FeatureSpec.parse(f"{store}:text")] if any(log.texts) else []
    model = "itemknn-cbf" if features else "itemknn"
    for out, name, specs in (("knn", model, features), ("r", "popularity", [])):
        fit(TrainJob(folder, name, specs), folder / "runs" / out)
        run = open_run(folder / "runs" / out)
        assert sorted(run.data.users.ids.to_pylist()) == sorted(log.users)
        assert sorted(run.data.items.ids.to_pylist()) == sorted(log.items)
    lists = pa.concat_tables(list(recommend_all(run, RecommendOptions(seen="none"))))
    taken = {item for _, item, split in log.pairs if split == "train"}
    assert set(lists["user_id"].to_pylist()) == set(log.users)
    assert set(lists["item_id"].to_pylist()) == taken
    item = min(taken)
    one = recommend(run, [log.users[0]], RecommendOptions(only=[item], seen="none"))
    assert one.select(["user_id", "item_id"]).to_pylist() == [
        {"user_id": log.users[0], "item_id": item}
    ]
    check_sql(folder, log)


def check_sql(folder: Path, log: Log) -> None:
    with open_sql(folder / "cache", folder / "runs", [folder]) as sql:
        rows = sql.ask(
            "select items.item_id::varchar as item, user_id::varchar as user "
            "from toy join items on toy.item_id = items.item_id::varchar "
            "join interactions on interactions.item_id = items.item_id "
            "join r.items as mine on mine.item_id = toy.item_id",
        ).to_pylist()
    assert sorted((row["user"], row["item"]) for row in rows) == sorted(
        (user, item) for user, item, _ in log.pairs
    )


@given(written())
@settings(max_examples=25, deadline=None)
def test_csv(drawn: tuple[Log, int, str]) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "runs").mkdir()
        write_log(folder, *drawn)
        check(folder, drawn[0])


KINDS = [pa.string(), pa.large_string(), pa.string_view()]
KINDS += [pa.int8(), pa.int16(), pa.int32(), pa.int64()]
KINDS += [pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@given(st.data())
@settings(max_examples=1, deadline=None)
def test_parquet(kind: pa.DataType, data: st.DataObject) -> None:
    if kind in KINDS[:3]:
        ids: Any = st.text(ANY, min_size=1, max_size=8)
    else:
        low = -(2 ** (kind.bit_width - 1)) if pa.types.is_signed_integer(kind) else 0
        ids = st.integers(low, low + 2**kind.bit_width - 1)
    items, users = (data.draw(st.lists(ids, min_size=low, max_size=high, unique=True))
                    for low, high in ((4, 7), (1, 3)))  # fmt: skip
    log = Log([str(i) for i in items], [str(u) for u in users], ["a"] * len(items))
    pairs = Log(items, users, []).pairs
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "runs").mkdir()
        table = {"item_id": pa.array(items, kind), "text": log.texts}
        pq.write_table(pa.table(table), folder / "items.parquet")
        user, item, split = (list(column) for column in zip(*pairs, strict=True))
        rows = {"user_id": pa.array(user, kind), "item_id": pa.array(item, kind), "split": split}
        pq.write_table(pa.table(rows), folder / "interactions.parquet")
        check(folder, log)


IDS = ["0012345678", "10:20", "1e5", "123456789012345678901234567890", "007", "true", "NaN",
       "null", " blank", "a\nb", 'a "b", c', "é"]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop in cp1252 and semicolons, and what the commands make of it."""
    shop = Shop(tmp_path_factory.mktemp("csv"))
    (shop.path / "d").mkdir()
    log = Log(IDS, ["01", "1", "1.0"], [f"chair; {n}" for n in range(len(IDS))])
    tables = {"items": [("item_id", "text"), *zip(log.items, log.texts, strict=True)],
              "interactions": [("user_id", "item_id", "split"), *log.pairs]}  # fmt: skip
    for name, rows in tables.items():
        with (shop.path / f"d/{name}.csv").open("w", newline="", encoding="cp1252") as file:
            csv.writer(file, delimiter=";").writerows(rows)
    said = shop.refused("extract", "--model", "toy", "--data", "d")
    assert "--delimiter ';'" in said
    said = shop.refused("extract", "--model", "toy", "--data", "d", "--delimiter", ";")
    assert "in line 14; it looks like latin-1: --encoding latin-1" in said
    form = ("--delimiter", ";", "--encoding", "cp1252")
    shop.mmx("extract", "--model", "toy", "--data", "d", *form)
    to = ("--model", "bpr", "--epochs", "1", "--out", "runs/bpr")
    shop.mmx("train", "--data", "d", *to, *form)
    return shop


FORM = ("--delimiter", ";", "--encoding", "cp1252")


def test_commands_keep_ids(place: Shop) -> None:
    listed = place.json("recommend", "runs/bpr", "--user", "01", "--seen", "none")
    assert {row["item_id"] for row in listed} == set(IDS)
    rows = place.json("sql", "select item_id from items join toy using (item_id)",
                      "--data", "d", *FORM)  # fmt: skip
    assert sorted(row["item_id"] for row in rows) == sorted(IDS)
    facts = place.json("info", "d", *FORM)
    assert (facts["items"], facts["users"], facts["interactions"]) == (len(IDS), 3, 3 * len(IDS))
    config = (place.path / "runs/bpr/config.json").read_text()
    assert '"encoding": "cp1252"' in config


def test_lists_of_ids_are_read_alike(place: Shop) -> None:
    """--only, --exclude and --items-from @file as --items."""
    with (place.path / "few.csv").open("w", newline="", encoding="cp1252") as file:
        csv.writer(file, delimiter=";").writerows([["x", "item_id"], ["1", "007"], ["2", "é"]])
    pq.write_table(pa.table({"item_id": ["007", "a\nb"]}), place.path / "few.parquet")
    asked = ("recommend", "runs/bpr", "--user", "1", "--seen", "none")
    found = place.json(*asked, "--only", "@few.csv", "--exclude", "@few.parquet", *FORM)
    assert {row["item_id"] for row in found} == {"é"}
    found = place.json("recommend", "runs/bpr", "--items-from", "@few.parquet")
    assert {row["item_id"] for row in found} == set(IDS) - {"007", "a\nb"}
    kept = ("store", "filter", "cache/toy.parquet", "--out")
    place.mmx(*kept, "few1.parquet", "--items", "few.csv", *FORM)
    assert pq.read_table(place.path / "few1.parquet")["item_id"].to_pylist() == ["007", "é"]


@pytest.mark.parametrize(
    "command",
    [
        ("recommend", "runs/bpr", "--user", "1", "--only", "007"),
        ("info", "runs/bpr"),
        ("sql", "select 1"),
        ("extract", "--model", "toy", "--data", "p"),
    ],
)
def test_options_that_nothing_uses(place: Shop, command: tuple[str, ...]) -> None:
    (place.path / "p").mkdir(exist_ok=True)
    pq.write_table(pa.table({"item_id": ["a"]}), place.path / "p/items.parquet")
    assert "--delimiter" in place.refused(*command, "--delimiter", ";", code=2)


def test_training_refuses_them_too(place: Shop) -> None:
    (place.path / "p").mkdir(exist_ok=True)
    pq.write_table(pa.table({"item_id": ["a"]}), place.path / "p/items.parquet")
    with pytest.raises(OptionError, match=r"--delimiter is for CSV files, and here items\.parquet"):
        fit(TrainJob(place.path / "p", "itemknn", csv=CsvFormat(delimiter=";")), place.path / "x")


def test_tables_of_ids_beside_vectors(place: Shop) -> None:
    """`convert --from` reads ids.csv as everything else does."""
    place.mmx("store", "convert", "cache/toy.parquet", "--to", "npy", "--out", "npy")
    (place.path / "npy/ids.parquet").unlink()
    (place.path / "npy/card.json").unlink()
    with (place.path / "npy/ids.csv").open("w", newline="", encoding="cp1252") as file:
        csv.writer(file, delimiter=";").writerows([["item_id"], *([name] for name in IDS)])
    back = ("store", "convert", "npy", "--from", "npy", "--out", "back.parquet", "--encoder", "e")
    assert "looks like latin-1" in place.refused(*back, "--delimiter", ";")
    place.mmx(*back, *FORM)
    assert pq.read_table(place.path / "back.parquet")["item_id"].to_pylist() == IDS
