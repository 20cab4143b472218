"""Amazon's ratings alone: with and without a header, users or items first."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmx.errors import DataError
from tests.data.formats.dumps import META, amazon_2014, imported, packed, rows

USERS = ("A1YS9MDZP93857", "A3TS466QBAWB9D", "#oc-R11D9D7SHXIJB9")
ITEMS = ("0006428320", "B003VMFNMK", "B0042VLHU4")
RATINGS = [
    (USERS[0], ITEMS[0], "3.0", "1394496000"),
    (USERS[1], ITEMS[1], "5.0", "1370476800"),
    (USERS[2], ITEMS[1], "1.0", "1400371200"),
    (USERS[0], ITEMS[2], "4.0", "1400371300"),
]  # fmt: skip
READ = [(u, i, float(r), int(t)) for u, i, r, t in RATINGS]


def lines(*order: int, header: str = "") -> list[str]:
    """The cells in another order."""
    return [*([header] if header else []), *(",".join(row[n] for n in order) for row in RATINGS)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ratings_X.csv", lines(0, 1, 2, 3)),  # of 2014
        ("X.csv", lines(1, 0, 2, 3)),  # of 2018
        ("X.csv.gz", lines(0, 1, 2, 3, header="user_id,parent_asin,rating,timestamp")),  # of 2023
        ("own.csv", lines(3, 1, 2, 0, header="timestamp,asin,overall,user")),
    ],
)
def test_columns_are_told_by_ids_or_header(tmp_path: Path, name: str, content: list[str]) -> None:
    path = tmp_path / name
    if name.endswith(".gz"):
        packed(path, content)
    else:
        path.write_text("\r\n".join(content) + "\r\n")
    imported("amazon", path, tmp_path / "out")
    found = rows(tmp_path / "out", columns="user_id, item_id, rating, timestamp")
    assert found == READ
    assert rows(tmp_path / "out", "items") == [(item,) for item in ITEMS]


def test_metadata_goes_with_them_and_history_stays_out(tmp_path: Path) -> None:
    header = "user_id,parent_asin,rating,timestamp,history"
    (tmp_path / "X.csv").write_text(f"{header}\nAU,0001,4.0,1,\nAU,0002,5.0,2,0001\n")
    packed(tmp_path / "meta_X.json.gz", map(repr, META))
    imported("amazon", tmp_path, tmp_path / "out")
    assert rows(tmp_path / "out") == [("AU", "0001", 4.0, 1), ("AU", "0002", 5.0, 2)]
    assert rows(tmp_path / "out", "items", "item_id, brand") == [("0001", "Acmé"), ("0002", None)]


def test_what_is_wrong_with_ratings_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "ratings_X.csv"
    for text, said in (
        ("u1,i1,5.0,7\n", "its ids do not say which are the items; put user_id,item_id"),
        (f"{USERS[0]},{ITEMS[0]},5.0,7\n{USERS[1]},{ITEMS[0]},5.0\n", "line 2: 3 cells, 4"),
        (f"{USERS[0]},{ITEMS[0]},many,7\n", "line 1: the rating is missing or not a number"),
        (f"{USERS[0]},,5.0,7\n{USERS[0]},{ITEMS[0]},5.0,7\n", "line 1: there is no item"),
        (f"{USERS[0]},{ITEMS[0]},5.0,7.5\n", "line 1: the time is missing or not a whole number"),
        ("user_id,sku,rating,timestamp\n", "the header has no parent_asin or asin"),
        ("[1,2,3,4]\n", "it is not JSON|a JSON object is expected"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=said):
            imported("amazon", path, tmp_path / "out")


def test_reviews_and_ratings_are_one_too_many(tmp_path: Path) -> None:
    (tmp_path / "ratings_X.csv").write_text("\n".join(lines(0, 1, 2, 3)))
    amazon_2014(tmp_path)
    with pytest.raises(DataError, match="are reviews and ratings alone; name the files of one"):
        imported("amazon", tmp_path, tmp_path / "out")
