"""MovieLens in its three layouts, and MicroLens."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmx.errors import DataError, OptionError
from tests.data.formats.dumps import imported, rows

FLAGS = "0|0|0|1|1|1" + "|0" * 13  # Animation, Children's, Comedy


def movielens_100k(folder: Path) -> Path:
    (folder / "ml").mkdir()
    (folder / "ml/u.data").write_text("196\t1\t3\t881250949\n186\t2\t3\t891717742\n")
    movies = (
        f"1|Toy Story (1995)|01-Jan-1995||http://us.imdb.com/M/x?Toy%20Story%20(1995)|{FLAGS}\n"
        f"2|Misérables, Les (1995)|01-Jan-1995||http://x|{'0|' * 8}1{'|0' * 10}\n"
        f"267|unknown||||1{'|0' * 18}\n"
    )
    (folder / "ml/u.item").write_text(movies, encoding="latin-1")
    return folder / "ml"


def test_100k(tmp_path: Path) -> None:
    imported("movielens", movielens_100k(tmp_path), tmp_path / "out", all_items=True)
    assert rows(tmp_path / "out") == [
        ("196", "1", 3.0, 881250949), ("186", "2", 3.0, 891717742),
    ]  # fmt: skip
    assert rows(tmp_path / "out", "items", "item_id, text, year") == [
        ("1", "Toy Story (1995). Animation, Children's, Comedy", 1995),
        ("2", "Misérables, Les (1995). Drama", 1995),
        ("267", "unknown. unknown", None),
    ]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_1m_and_10m(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "ratings.dat").write_text("1::1193::5::978300760\n1::661::3.5::978302109\n")
    movies = "1193::One Flew: Over (1975)::Drama\n661::Été (1996)::Animation|Children's\n"
    (tmp_path / "movies.dat").write_text(movies, encoding=encoding)
    imported("movielens", tmp_path, tmp_path / "out")
    assert rows(tmp_path / "out")[1] == ("1", "661", 3.5, 978302109)
    assert rows(tmp_path / "out", "items", "title, genres") == [
        ("One Flew: Over (1975)", "Drama"), ("Été (1996)", "Animation, Children's"),
    ]  # fmt: skip


def test_20m_and_up(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text(
        "userId,movieId,rating,timestamp\r\n1,11,3.5,1112486027\r\n1,7,4.0,1112484676\r\n"
    )
    (tmp_path / "movies.csv").write_text(
        'movieId,title,genres\n11,"American President, The (1995)",Comedy|Drama\n'
        '7,"""Great"" Sabrina (1995)",(no genres listed)\n'
    )
    imported("movielens", tmp_path, tmp_path / "out")
    assert rows(tmp_path / "out")[0] == ("1", "11", 3.5, 1112486027)
    assert rows(tmp_path / "out", "items", "item_id, text, year") == [
        ("11", "American President, The (1995). Comedy, Drama", 1995),
        ("7", '"Great" Sabrina (1995)', 1995),
    ]


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    folder = movielens_100k(tmp_path)
    with pytest.raises(DataError, match="one folder is expected"):
        imported("movielens", folder / "u.data", tmp_path / "out")
    with pytest.raises(OptionError, match="--columns is for csv, mmrec, recbole"):
        imported("movielens", folder, tmp_path / "out", columns={"item_id": "x"})
    with (folder / "u.data").open("a") as file:
        file.write("1\t2\t3\n")
    with pytest.raises(DataError, match=r"u.data: line 3: 3 cells, 4 are expected"):
        imported("movielens", folder, tmp_path / "out")
    (folder / "u.data").unlink()
    with pytest.raises(DataError, match=r"has no u.data, ratings.dat or ratings.csv"):
        imported("movielens", folder, tmp_path / "out")
    (folder / "ratings.csv").write_text("user,movie\n1,2\n")
    with pytest.raises(DataError, match="has no column userId"):
        imported("movielens", folder, tmp_path / "out")


def microlens(folder: Path) -> Path:
    (folder / "m").mkdir()
    (folder / "m/MicroLens-50k_pairs.csv").write_text(
        "user,item,timestamp\n36121,9580,1583378629552\n36121,1,1583378700000\n"
    )
    (folder / "m/MicroLens-50k_pairs.tsv").write_text("36121\t9580 1\n5\t1 7 1\n")
    (folder / "m/MicroLens-50k_titles.csv").write_text(
        'item,title\n1,"Plain, and ""quoted"""\n9580,猫 &amp; dog\n'
    )
    (folder / "m/MicroLens-50k_likes_and_views.txt").write_text("1\t20\t300\n9580\t0\t7\n")
    return folder / "m"


def test_microlens(tmp_path: Path) -> None:
    folder = microlens(tmp_path)
    imported("microlens", folder, tmp_path / "out")
    assert rows(tmp_path / "out") == [
        ("36121", "9580", 1583378629552), ("36121", "1", 1583378700000),
    ]  # fmt: skip
    assert rows(tmp_path / "out", "items", "item_id, text, likes, views") == [
        ("1", 'Plain, and "quoted"', 20, 300), ("9580", "猫 & dog", 0, 7),
    ]  # fmt: skip


def test_microlens_in_sequences(tmp_path: Path) -> None:
    folder = microlens(tmp_path)
    (folder / "MicroLens-50k_pairs.csv").unlink()
    imported("microlens", folder, tmp_path / "out", duplicates="all")
    assert rows(tmp_path / "out", columns="user_id, item_id, timestamp") == [
        ("36121", "9580", 1), ("36121", "1", 2), ("5", "1", 1), ("5", "7", 2), ("5", "1", 3),
    ]  # fmt: skip
    with pytest.raises(DataError, match="one file of pairs"):
        imported("microlens", folder / "MicroLens-50k_titles.csv", tmp_path / "other")
