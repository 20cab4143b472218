"""RecBole's atomic files."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmx.errors import DataError
from tests.data.formats.dumps import imported, rows

INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
ITEM = "item_id:token\tmovie_title:token_seq\trelease_year:float\tclass:token_seq\n"


def atomic(folder: Path) -> Path:
    (folder / "ml").mkdir()
    log = "196\t242\t3\t881250949\n186\t302\t3.5\t8.91717742E8\n"
    (folder / "ml/ml.inter").write_text(INTER + log)
    items = '242\tToy "Story"\t1995\tAnimation Comedy\n302\t"a ""b"" c"\t\t\n'
    (folder / "ml/ml.item").write_text(ITEM + items)
    return folder / "ml"


def test_a_log_and_items(tmp_path: Path) -> None:
    imported("recbole", atomic(tmp_path), tmp_path / "out", text="{movie_title} ({release_year})")
    assert rows(tmp_path / "out") == [
        ("196", "242", 3.0, 881250949), ("186", "302", 3.5, 891717742),
    ]  # fmt: skip
    assert isinstance(rows(tmp_path / "out")[1][3], int)  # though it is a float there
    assert rows(tmp_path / "out", "items", "item_id, text, class") == [
        ("242", 'Toy "Story" (1995.0)', "Animation Comedy"), ("302", 'a "b" c', None),
    ]  # fmt: skip


def test_weights(tmp_path: Path) -> None:
    (tmp_path / "x.inter").write_text("user_id:token\titem_id:token\tw:float\nu\ta\t2\nu\tb\t3e1\n")
    imported("recbole", tmp_path / "x.inter", tmp_path / "out", columns={"weight": "w"})
    assert rows(tmp_path / "out") == [("u", "a", 2.0), ("u", "b", 30.0)]
    for bad in ("0", "-1", "nan", "x", "inf"):
        text = f"user_id:token\titem_id:token\tweight:float\nu\ta\t{bad}\n"
        (tmp_path / "x.inter").write_text(text)
        with pytest.raises(DataError, match="line 2: weight is missing or not a number above 0"):
            imported("recbole", tmp_path / "x.inter", tmp_path / "no")


def test_fields_may_be_called_anything(tmp_path: Path) -> None:
    names = ["n", "c", "v", "line", "number", "fault", "select", 'a "b"', "user_id"]
    heads = "".join(f"\t{name}:token" for name in names)
    cells = "".join(f"\t{n}" for n in range(len(names)))
    (tmp_path / "x.item").write_text(f"item_id:token{heads}\n1{cells}\n")
    (tmp_path / "x.inter").write_text(INTER + "u\t1\t5\t7\n")
    imported("recbole", tmp_path, tmp_path / "out")
    found = rows(tmp_path / "out", "items")
    assert found == [("1", *map(str, range(len(names))))]


def test_a_given_split_and_other_names(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    for n, part in enumerate(("train", "valid", "test")):
        (folder / f"x.{part}.inter").write_text(f"uid:token\tsku:token\nu\ti{n}\n")
    columns = {"user_id": "uid", "item_id": "sku"}
    imported("recbole", folder, tmp_path / "out", columns=columns)
    found = rows(tmp_path / "out", columns="item_id, split")
    assert sorted(found) == [("i0", "train"), ("i1", "valid"), ("i2", "test")]
    (folder / "x.inter").write_text("uid:token\tsku:token\nu\ti9\n")
    with pytest.raises(DataError, match="a whole log and parts of one"):
        imported("recbole", folder, tmp_path / "other", columns=columns)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("user_id\titem_id\n", "line 1: the header has user_id, item_id; NAME:TYPE is expected"),
        ("user_id:token\tuser_id:token\n", "names user_id:token twice"),
        ("user_id:token\tsku:token\n1\t2\n", "no column item_id; .*--columns item_id=NAME"),
        (INTER + "1\t2\t3\n", "line 2: 3 cells, 4 are expected"),
        (INTER + "1\t2\tgood\t5\n", "line 2: rating is missing or not a number"),
        (INTER + "1\t\t3\t5\n", "line 2: item_id is missing"),
        (INTER + "1\t2\t3\tinf\n", "line 2: timestamp is missing or not a number"),
        ("", "the header is missing"),
        (INTER, "holds no interactions"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "x.inter"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        imported("recbole", path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
