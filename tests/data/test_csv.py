"""CSV files: everything as it is written, all rows or an error with the line."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmx.data.dataset import load_interactions, load_items
from mmx.errors import DataError

IDS = [
    "0012345678", "10:20", "1e5", "123456789012345678901234567890", "007", "true", "NaN", "null",
    " leading space", "trailing ", "7.0", "-0", "0x1F", "2020-01-31", "#a", "'b'", "c\\", "é;|\t",
]  # fmt: skip


def written(*rows: list[str], newline: str = "\n") -> bytes:
    """Rows as Python's csv writes them."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=newline).writerows(rows)
    return text.getvalue().encode()


def items_of(folder: Path, content: bytes | str) -> pa.Table:
    data = content.encode() if isinstance(content, str) else content
    (folder / "items.csv").write_bytes(data)
    return load_items(folder).table


# As written


@pytest.mark.parametrize("kept", [[name] for name in IDS] + [IDS])
def test_ids_are_text(tmp_path: Path, kept: list[str]) -> None:
    """Alone, too: then the whole column looks like numbers, times or truths."""
    table = items_of(tmp_path, written(["item_id"], *([name] for name in kept)))
    assert table["item_id"].to_pylist() == kept
    (tmp_path / "interactions.csv").write_bytes(
        written(["user_id", "item_id", "split"], *([name, name, "train"] for name in kept))
    )
    log = load_interactions(tmp_path, load_items(tmp_path))
    assert log["user_id"].to_pylist() == log["item_id"].to_pylist() == kept


def test_pictures_and_texts_are_text(tmp_path: Path) -> None:
    table = items_of(tmp_path, "item_id,image,text\na,0012.jpg,007\nb,0013,1e5\n")
    assert table["image"].to_pylist() == ["0012.jpg", "0013"]
    assert table["text"].to_pylist() == ["007", "1e5"]
    table = items_of(tmp_path, 'item_id,image,text\na,0012,007\nb,,\nc,13,""\n')
    assert table["image"].to_pylist() == ["0012", None, "13"]
    assert table["text"].to_pylist() == ["007", None, None]  # quoted or not


def test_items_and_interactions_that_agree(tmp_path: Path) -> None:
    """A catalogue in CSV and a log in Parquet, of one program."""
    names = [f"{n:010}" for n in range(320)]
    items_of(tmp_path, written(["item_id"], *([name] for name in names)))
    log = {"user_id": pa.array(["u"] * 320), "item_id": pa.array(names)}
    pq.write_table(pa.table(log), tmp_path / "interactions.parquet")
    assert load_interactions(tmp_path, load_items(tmp_path)).num_rows == 320


def test_numbers_are_numbers(tmp_path: Path) -> None:
    header = "item_id,price,stock,size,brand,code,weight,since\n"
    table = items_of(
        tmp_path,
        header
        + "a,19.90,3,007,1e5,12345678901234567890,1e-05,2020-01-01\nb,7,-1,8,2,2,.5,x\nc,,,,,,,\n",
    )
    assert table["price"].to_pylist() == [19.9, 7.0, None]
    assert table["stock"].to_pylist() == [3, -1, None]
    assert table["size"].to_pylist() == ["007", "8", None]
    assert table["brand"].to_pylist() == ["1e5", "2", None]  # a number formatter writes 1e+05
    assert table["code"].to_pylist() == ["12345678901234567890", "2", None]
    assert table["weight"].to_pylist() == [1e-5, 0.5, None]
    assert table["since"].to_pylist() == ["2020-01-01", "x", None]
    kinds = [table[name].type for name in ("price", "stock", "weight")]
    assert kinds == [pa.float64(), pa.int64(), pa.float64()]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (["978300760", "0978300761"], [978300760, 978300761]),
        (["978300760.25", "1e9"], [978300760.25, 1e9]),
        (["1970-01-02", "1970-01-01 00:00:01.5"], [86_400_000_000, 1_500_000]),
        (["1970-01-01T01:00:00+01:00", "1970-01-01 00:00:01Z"], [0, 1_000_000]),
    ],
)
def test_times(tmp_path: Path, times: list[str], expected: list[float]) -> None:
    items_of(tmp_path, "item_id\na\nb\n")
    rows = zip("uv", "ab", times, strict=True)
    (tmp_path / "interactions.csv").write_bytes(written(["user_id", "item_id", "timestamp"], *rows))
    log = load_interactions(tmp_path, load_items(tmp_path))
    assert log["timestamp"].to_pylist() == expected
    whole = all(time.isdigit() and time[0] != "0" for time in times)
    assert not whole or pa.types.is_integer(log["timestamp"].type)


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("rating", ["5", "good"], r"rating is string \(such as 'good'\); a number is expected"),
        ("rating", ["5", "nan"], r"such as 'nan'"),
        ("rating", ["5", ""], "1 rows have no rating"),
        ("timestamp", ["2020-01-31", "2020-01-31T10:00:00Z"], "timestamp is string"),
        ("timestamp", ["2020-02-31", "2020-01-31"], "such as '2020-02-31'"),
    ],
)
def test_no_numbers(tmp_path: Path, column: str, values: list[str], said: str) -> None:
    items_of(tmp_path, "item_id\na\nb\n")
    rows = zip("uv", "ab", values, strict=True)
    (tmp_path / "interactions.csv").write_bytes(written(["user_id", "item_id", column], *rows))
    with pytest.raises(DataError, match=said):
        load_interactions(tmp_path, load_items(tmp_path))


# Quotes and line breaks


def shop(rows: int, **changed: str) -> str:
    """item_id,text of items j1, j2 …; ``changed`` lines replace their own."""
    lines = [changed.get(f"j{n}", f"j{n},chair {n}") for n in range(1, rows + 1)]
    return "\n".join(["item_id,text", *lines, ""])


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({}, "row of lines 1002 to 2002 .*nothing closes it"),
        ({"j1900": 'j1900,"32 inch'}, "row of lines 1002 to 1901 "),
        ({"j1900": 'j1900,"a table, round"'}, "row of lines 1002 to 1901 "),
        ({"j1900": 'j1900,monitor 32"'}, "opens in line 1002 and closes in line 1901"),
        ({"j1900": 'j1900,monitor 32"', "j3": 'j3,27" wide'}, "line 1002 and closes in line 1901"),
        ({"j1900": 'j1900,monitor 32"', "j1500": ""}, "line 1002 and closes in line 1901"),
        ({"j1004": 'j1004,monitor 32"'}, "opens in line 1002 and closes in line 1005"),
    ],
)
def test_a_stray_quote_swallows_nothing(tmp_path: Path, other: dict[str, str], said: str) -> None:
    with pytest.raises(DataError, match=said):
        items_of(tmp_path, shop(2001, j1001='j1001,"27 inch monitor', **other))


def test_a_stray_quote_in_a_log(tmp_path: Path) -> None:
    items_of(tmp_path, shop(40))
    lines = [f"u{n},j{n},{n}" for n in range(1, 41)]
    lines[9], lines[19] = 'u10,"j10,10', 'u20,j20",20'
    (tmp_path / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *lines, ""]))
    with pytest.raises(DataError, match="quote opens in line 11 and closes in line 21"):
        load_interactions(tmp_path, load_items(tmp_path))


def test_a_quote_inside_a_cell_is_a_letter(tmp_path: Path) -> None:
    table = items_of(tmp_path, shop(4, j2='j2,27" monitor', j3='j3, "both"'))
    assert table["text"].to_pylist() == ["chair 1", '27" monitor', ' "both"', "chair 4"]


def test_texts_that_hold_rows(tmp_path: Path) -> None:
    """Line breaks and delimiters in quotes are not a stray quote."""
    texts = ["Sizes\nS,M\nL,XL", "a, b\nc, d\ne, f\ng, h", "one\n\ntwo", "x\r\ny", 'so ""big""\n"']
    rows = ([f"j{n}", text] for n, text in enumerate(texts))
    assert items_of(tmp_path, written(["item_id", "text"], *rows))["text"].to_pylist() == texts


def test_line_breaks_in_quotes_above_a_megabyte(tmp_path: Path) -> None:
    texts = ["\n".join(["word"] * 60) for _ in range(8000)]  # 2.4 MB
    rows = ([f"i{n}", text] for n, text in enumerate(texts))
    assert items_of(tmp_path, written(["item_id", "text"], *rows))["text"].to_pylist() == texts


def test_two_line_texts_come_intact(tmp_path: Path) -> None:
    texts = [f"chair {n}\r\nof wood, {n}" for n in range(60_000)]
    rows = ([f"i{n}", text] for n, text in enumerate(texts))
    table = items_of(tmp_path, written(["item_id", "text"], *rows, newline="\r\n"))
    assert table["text"].to_pylist() == texts


def test_texts_of_rows_over_several_buffers(tmp_path: Path) -> None:
    """DuckDB's threads take lines inside of texts for rows where they begin in the middle."""
    draw = np.random.default_rng(0)
    text = "\n".join(f"{n},{n}" for n in range(400)) + "\nend, of it"
    texts = [text[: 3000 + int(n)] + "." for n in draw.integers(0, 400, 16_000)]  # 51 MB
    rows = ([f"i{n}", text] for n, text in enumerate(texts))
    assert items_of(tmp_path, written(["item_id", "text"], *rows))["text"].to_pylist() == texts


def test_very_long_texts(tmp_path: Path) -> None:
    long = "word, " * 1_000_000  # above DuckDB's 2 MB a line
    table = items_of(tmp_path, written(["item_id", "text"], ["a", long], ["b", "c"]))
    assert table["text"].to_pylist() == [long, "c"]


@pytest.mark.parametrize(
    ("one", "other"), [("\n", "\r\n"), ("\r\n", "\n"), ("\r", "\r"), ("\n", "\r")]
)
def test_line_ends_of_all_kinds(tmp_path: Path, one: str, other: str) -> None:
    table = items_of(tmp_path, f'item_id,text{one}a,"b\nc"{other}{other}007,d{one}')
    assert table.select(["item_id", "text"]).to_pylist() == [
        {"item_id": "a", "text": "b\nc"}, {"item_id": "007", "text": "d"},
    ]  # fmt: skip


def test_rows_of_other_lengths(tmp_path: Path) -> None:
    text = 'item_id,text\na,"b\nc"\n'
    with pytest.raises(DataError, match="line 4 has 3 cells, the header has 2"):
        items_of(tmp_path, text + "d,e,f\n")
    with pytest.raises(DataError, match="line 5 has 1 cells, the header has 2"):
        items_of(tmp_path, text + "\nd\n")


def test_a_row_of_another_length_far_down(tmp_path: Path) -> None:
    """DuckDB has handed over many rows by then."""
    lines = [f"i{n},chair" for n in range(300_000)]
    with pytest.raises(DataError, match="line 300002 has 1 cells, the header has 2"):
        items_of(tmp_path, "\n".join(["item_id,text", *lines, "lost", ""]))


def test_ids_that_are_empty(tmp_path: Path) -> None:
    for content in ("item_id,text\n,a\nb,c\n", 'item_id\n""\nb\n', "item_id\n,\nb\n"):
        with pytest.raises(DataError, match=r"have no item_id|have an empty item_id"):
            items_of(tmp_path, content)
    assert items_of(tmp_path, "item_id\na\n\nb\n\n")["item_id"].to_pylist() == ["a", "b"]


# Headers


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("item_id, text", "the column name ' text' has blanks around it"),
        ("item_id,text,text", "the header names text twice"),
        ("item_id;text", "separated by ';'; use --delimiter ';'"),
        ("item_id;text;a, b", "separated by ';'; use --delimiter ';'"),
        ("item_id\ttext", "separated by tab; use --delimiter tab"),
        ("item_id|text", "separated by '|'; use --delimiter '|'"),
        ("", "items.csv is empty"),
        ("\nitem_id", "line 1 is blank"),
        ('"item_id,text', "the header cannot be read"),
    ],
)
def test_headers(tmp_path: Path, header: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        items_of(tmp_path, header + "\n" if header else "")


def test_a_mark_in_front_and_a_column_without_a_name(tmp_path: Path) -> None:
    table = items_of(tmp_path, '\ufeff"item_id",text\na,b\n')
    assert table["item_id"].to_pylist() == ["a"]
    table = items_of(tmp_path, ",item_id,text\n0,a,b\n")  # pandas writes its index so
    assert table.column_names == ["item_id", "image", "text", "column1"]
    names = ["item_id", "image", "text", "Title", "title"]
    assert items_of(tmp_path, "item_id,Title,title\na,b,c\n").column_names == names


# Encodings


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("latin-1", r"not UTF-8: byte 0xE9 in line 3; it looks like latin-1: --encoding latin-1"),
        ("cp1252", r"not UTF-8: byte 0x93 in line 3; it looks like cp1252: --encoding cp1252"),
        ("utf-16", r"looks like UTF-16: --encoding utf-16$"),
        ("utf-16-le", r"looks like UTF-16: --encoding utf-16-le"),
        ("utf-16-be", r"looks like UTF-16: --encoding utf-16-be"),
    ],
)
def test_other_encodings_are_named(tmp_path: Path, encoding: str, said: str) -> None:
    text = "“café”" if encoding == "cp1252" else "café"
    with pytest.raises(DataError, match=said):
        items_of(tmp_path, f"item_id,text\na,b\nc,{text}\n".encode(encoding))


def test_bytes_that_are_not_utf8_in_the_header(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="in line 1; it looks like latin-1"):
        items_of(tmp_path, "item_id,Größe\na,b\n".encode("latin-1"))


def test_names_that_duckdb_would_take_for_patterns(tmp_path: Path) -> None:
    folder = tmp_path / "year=1" / "[ab]*?'"
    folder.mkdir(parents=True)
    assert items_of(folder, "item_id\n007\n").column_names == ["item_id", "image", "text"]
