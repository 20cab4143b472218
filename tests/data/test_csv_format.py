"""--encoding and --delimiter: what a file does not say of itself."""

from __future__ import annotations

from pathlib import Path

import duckdb
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem

from mmx.data.csvs.format import CsvFormat, refuse_unused
from mmx.data.csvs.reader import read_csv, view_of
from mmx.data.dataset import check_csv, load_interactions, load_items
from mmx.data.id_lists import read_ids
from mmx.errors import DataError, OptionError, QueryError
from mmx.sql import open_sql

ROWS = [{"item_id": "007", "title": "café “ü”", "price": 1.5}, {"item_id": "8", "title": "b"}]


def shop(folder: Path, encoding: str = "utf-8", delimiter: str = ",", suffix: str = "csv") -> Path:
    rows = ["item_id,title,price", "007,café “ü”,1.5", "8,b,"]
    text = "\r\n".join(rows).replace(",", delimiter)
    path = folder / f"items.{suffix}"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_all_that_can_be_said(tmp_path: Path, encoding: str, delimiter: str) -> None:
    path = shop(tmp_path, encoding, delimiter)
    table = load_items(tmp_path, csv=CsvFormat(encoding, delimiter)).table
    expected = [{"price": None, **row} for row in ROWS]
    assert table.select(["item_id", "title", "price"]).to_pylist() == expected
    found = duckdb.sql(view_of(path, CsvFormat(encoding, delimiter)).sql).to_arrow_table()
    assert found.to_pylist() == expected


def test_tsv_is_tabs(tmp_path: Path) -> None:
    path = shop(tmp_path, delimiter="\t", suffix="tsv")
    assert load_items(tmp_path).ids.to_pylist() == ["007", "8"]
    assert load_items(path).ids.to_pylist() == ["007", "8"]
    (tmp_path / "interactions.tsv").write_text("user_id\titem_id\nu\t007\n")
    assert load_interactions(path, load_items(path)).num_rows == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"encoding": "latin-one"}, "--encoding latin-one is unknown"),
        ({"encoding": "hex"}, "--encoding hex is unknown"),
        ({"delimiter": ";;"}, "one character"),
        ({"delimiter": ""}, "one character"),
        ({"delimiter": '"'}, "one character"),
        ({"delimiter": "a"}, "one character"),
        ({"delimiter": "\n"}, "one character"),
    ],
)
def test_what_cannot_be(options: dict[str, str], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        CsvFormat(**options)


def test_a_tab_by_its_name() -> None:
    assert CsvFormat(delimiter="tab") == CsvFormat(delimiter="\\t") == CsvFormat(delimiter="\t")


def test_a_wrong_encoding_or_delimiter(tmp_path: Path) -> None:
    shop(tmp_path)
    with pytest.raises(DataError, match=r"items.csv is not ascii: .*; set --encoding"):
        load_items(tmp_path, csv=CsvFormat("ascii"))
    with pytest.raises(DataError, match="separated by ','; use --delimiter ','"):
        load_items(tmp_path, csv=CsvFormat(delimiter=";"))


def test_options_that_nothing_uses(tmp_path: Path) -> None:
    shop(tmp_path)
    pq.write_table(
        pa.table({"user_id": ["u"], "item_id": ["8"]}), tmp_path / "interactions.parquet"
    )
    check_csv(CsvFormat("utf-8"), tmp_path, interactions=True)
    (tmp_path / "items.csv").unlink()
    pq.write_table(pa.table({"item_id": ["8"]}), tmp_path / "items.parquet")
    check_csv(CsvFormat(), tmp_path, interactions=True)
    with pytest.raises(OptionError, match=r"--delimiter is for CSV .* interactions.parquet, items"):
        check_csv(CsvFormat(delimiter=";"), tmp_path, interactions=True)
    (tmp_path / "interactions.parquet").rename(tmp_path / "x")
    (tmp_path / "interactions.csv").write_text("user_id;item_id\nu;8\n")
    check_csv(CsvFormat(delimiter=";"), tmp_path, interactions=True)
    with pytest.raises(OptionError, match=r"here items.parquet is read; leave it out"):
        check_csv(CsvFormat(delimiter=";"), tmp_path, interactions=False)
    refuse_unused(CsvFormat("latin-1"), [Path("ids.txt")])
    with pytest.raises(OptionError, match=r"--delimiter is for CSV files, and here ids\.txt"):
        refuse_unused(CsvFormat(delimiter=";"), [Path("ids.txt")])


# Views


def test_views_have_the_types_of_the_tables(tmp_path: Path) -> None:
    shop(tmp_path)
    (tmp_path / "interactions.csv").write_text("user_id,item_id,rating,timestamp\n1,007,4,9\n")
    with open_sql(tmp_path / "cache", tmp_path / "runs", [tmp_path]) as sql:
        found = sql.ask("select * from interactions join items using (item_id)")
    assert found.to_pylist() == [
        {"user_id": "1", "item_id": "007", "rating": 4, "timestamp": 9, **ROWS[0]}
    ]


def test_names_that_differ_in_capitals(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text('Title,title,"a""b"\n1,2,3\n')
    found = duckdb.sql(view_of(tmp_path / "x.csv").sql).to_arrow_table()
    assert found.to_pylist() == [{"Title": 1, "title_": 2, 'a"b': 3}]


def test_a_broken_file_is_an_error_for_who_reads_it(tmp_path: Path) -> None:
    shop(tmp_path)
    (tmp_path / "notes.csv").write_text("a,b\n1,2,3\n")
    with open_sql(tmp_path / "cache", tmp_path / "runs", [tmp_path]) as sql:
        assert sql.ask("select count(*) as n from items").to_pylist() == [{"n": 2}]
        with pytest.raises(QueryError, match="line 2 has 3 cells, the header has 2"):
            sql.ask("select * from notes")


def test_parquet_goes_before_csv_in_views_as_well(tmp_path: Path) -> None:
    shop(tmp_path, delimiter="\t", suffix="tsv")
    pq.write_table(pa.table({"item_id": ["p"]}), tmp_path / "items.parquet")
    with open_sql(tmp_path / "cache", tmp_path / "runs", [tmp_path]) as sql:
        assert sql.ask("from items").to_pylist() == [{"item_id": "p"}]


# Elsewhere


class Afar(LocalFileSystem):
    """Files that are known by URL only."""

    protocol = "afar"


def test_files_by_url(tmp_path: Path) -> None:
    fsspec.register_implementation("afar", Afar, clobber=True)
    shop(tmp_path, "cp1252", ";")
    form = CsvFormat("cp1252", ";")
    items = load_items(f"afar://{tmp_path}", csv=form)
    assert items.ids.to_pylist() == ["007", "8"]
    with open_sql(tmp_path / "c", tmp_path / "r", [f"afar://{tmp_path}"], csv=form) as sql:
        assert sql.ask("select title from items").to_pylist()[0] == {"title": "café “ü”"}
    with pytest.raises(DataError, match=r"nothing\.csv cannot be read: there is no such file"):
        read_csv(items.directory / "nothing.csv")


# Lists of ids


@pytest.mark.parametrize("name", ["ids.txt", "ids.csv", "ids.tsv", "ids.parquet"])
def test_lists_of_ids(tmp_path: Path, name: str) -> None:
    ids, path = ["007", " a", "1e5", "b\u2028c"], tmp_path / name
    if name == "ids.parquet":
        pq.write_table(pa.table({"x": [1] * 4, "item_id": pa.array(ids).dictionary_encode()}), path)
    else:
        head = {"txt": "\ufeff\r\n", "csv": "x,item_id\r\n", "tsv": "x\titem_id\r\n"}[name[4:]]
        front = {"txt": "", "csv": "1,", "tsv": "1\t"}[name[4:]]
        path.write_bytes((head + "".join(f"{front}{one}\r\n" for one in ids)).encode())
    assert read_ids(path).to_pylist() == ids


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", "é\n".encode("latin-1"), "is not UTF-8: .* --encoding"),
        ("a.csv", b"id\n7\n", "lacks the column item_id; it has id"),
        ("a.csv", b"item_id,x\n7,\n,1\n", "1 rows have no item_id"),
        ("b.txt", None, "no such file"),
    ],
)
def test_no_list_of_ids(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_ids(tmp_path / name)
