"""CSV files of any shop: one table or two, under the names that ``--columns`` gives."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from mmx.data.dataset import load_interactions, load_items
from mmx.data.formats.options import parse_columns
from mmx.errors import DataError, OptionError
from tests.data.formats.dumps import imported, rows

COLUMNS = {"item_id": "sku", "text": "title", "user_id": "who", "rating": "stars"}


def shop(folder: Path) -> list[Path]:
    (folder / "log.csv").write_text("who,sku,stars,day\nu1,007,5,x\nu2,007,4.5,y\nu1,8,1,z\n")
    (folder / "goods.csv").write_text('sku,title,price\n007,"Mug, ""big""",2.5\n8,,3\n9,x,4\n')
    return [folder / "log.csv", folder / "goods.csv"]


def test_two_tables(tmp_path: Path) -> None:
    imported("csv", shop(tmp_path), tmp_path / "out", columns=COLUMNS)
    assert rows(tmp_path / "out") == [("u1", "007", 5.0), ("u2", "007", 4.5), ("u1", "8", 1.0)]
    assert rows(tmp_path / "out", "items", "item_id, text, price") == [
        ("007", 'Mug, "big"', 2.5), ("8", None, 3.0),
    ]  # fmt: skip
    items = load_items(tmp_path / "out")
    assert len(load_interactions(tmp_path / "out", items)) == 3


def test_one_table_that_is_both(tmp_path: Path) -> None:
    path = tmp_path / "all.csv.gz"
    text = "who,sku,title,timestamp\nu1,1,A &amp; B,2020-01-31\nu2,1,later,2020-02-01\nu2,2,,"
    path.write_bytes(gzip.compress(f"{text}2020-02-02\n".encode()))
    columns = {"item_id": "sku", "user_id": "who"}
    imported("csv", path, tmp_path / "out", columns=columns, text="{title}!")
    assert [row[:2] for row in rows(tmp_path / "out")] == [("u1", "1"), ("u2", "1"), ("u2", "2")]
    assert rows(tmp_path / "out", "items", "item_id, text, title") == [
        ("1", "A & B!", "A &amp; B"), ("2", None, None),
    ]  # fmt: skip


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    log, goods = shop(tmp_path)
    for sources, columns, said in (
        ([log, goods], {"item_id": "sku"}, "no table has the column user_id; --columns user_id"),
        ([log, goods], {"user_id": "who"}, "log.csv has no column item_id; it has who, sku"),
        ([log, goods], {**COLUMNS, "image": "nix"}, "--columns image=nix: no file has such"),
        ([log, goods], {**COLUMNS, "timestamp": "day"}, "day is text; numbers are expected as"),
    ):
        with pytest.raises((DataError, OptionError), match=said):
            imported("csv", sources, tmp_path / "out", columns=columns)
    log.write_text("who,sku,stars\nu1,7,5\nu2,,4\n")
    with pytest.raises(DataError, match=r"log.csv: row 2 .the header not counted.: sku is missing"):
        imported("csv", [log, goods], tmp_path / "out", columns=COLUMNS)
    done = imported("csv", [log, goods], tmp_path / "out", columns=COLUMNS, skip_bad_lines=True)
    assert (done.bad_lines, done.interactions) == (1, 1)


def test_weights(tmp_path: Path) -> None:
    log, goods = shop(tmp_path)
    log.write_text("who,sku,stars,w\nu1,007,5,2.5\nu2,007,4.5,10\nu1,007,1,3\n")
    columns = {**COLUMNS, "weight": "w"}
    imported("csv", [log, goods], tmp_path / "out", columns=columns)
    found = rows(tmp_path / "out", columns="user_id, item_id, weight")
    assert found == [("u1", "007", 5.5), ("u2", "007", 10.0)]
    log.write_text("who,sku,stars,w\nu1,007,5,2\nu1,007,1,3\n")
    imported("csv", [log, goods], tmp_path / "whole", columns=columns)
    found = rows(tmp_path / "whole", columns="weight, typeof(weight)")
    assert found == [(5.0, "DOUBLE")]
    for bad in ("0", "-1", ""):
        log.write_text(f"who,sku,stars,w\nu1,007,5,1\nu2,8,4,{bad}\n")
        with pytest.raises(DataError, match=r"row 2 .*: w is missing or not above 0"):
            imported("csv", [log, goods], tmp_path / "x", columns=columns)
    log.write_text("who,sku,stars,w\nu1,007,5,cart\n")
    with pytest.raises(DataError, match="w is text; numbers are expected as weight"):
        imported("csv", [log, goods], tmp_path / "x", columns=columns)


def test_columns_are_parsed() -> None:
    assert parse_columns(["item_id=sku,text=title", "image=url"]) == {
        "item_id": "sku", "text": "title", "image": "url",
    }  # fmt: skip
    for wrong in ("item_id", "=x", "item_id=", "a=b,,c=d"):
        with pytest.raises(OptionError, match="OURS=THEIRS is expected"):
            parse_columns([wrong])
    with pytest.raises(OptionError, match="names item_id twice"):
        parse_columns(["item_id=a,item_id=b"])
