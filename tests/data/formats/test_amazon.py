"""The dumps of 2014, 2018 and 2023, and what may be wrong with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmx.data.formats import literals
from mmx.errors import DataError
from tests.data.formats.dumps import (
    META,
    REVIEWS,
    amazon_2014,
    amazon_2018,
    amazon_2023,
    imported,
    packed,
    review,
    rows,
)


def test_2014(tmp_path: Path) -> None:
    done = imported("amazon", amazon_2014(tmp_path), tmp_path / "out")
    assert rows(tmp_path / "out") == [
        ("A2", "0001", 2.0, 20), ("A1", "0002", 4.0, 10), ("A1", "0001", 1.0, 5),
        ("A3", "0009", 3.0, 50),
    ]  # fmt: skip
    names = "item_id, image, text, title, brand, categories, description, price"
    assert rows(tmp_path / "out", "items", names) == [
        (
            "0001", "http://images.example/1.jpg", "Tom's \"27\\\" Mug\" & Co. Acmé. Home > Mugs",
            "Tom's \"27\\\" Mug\" &amp; Co", "Acmé", "Home > Mugs", None, 9.99,
        ),
        ("0002", None, "Home. Line one", None, None, "Home", "Line\none", None),
        ("0009", None, None, None, None, None, None, None),
    ]  # fmt: skip
    assert (done.users, done.items, done.interactions, done.read) == (3, 3, 4, 5)
    assert [str(what) for what in done.left_out] == [
        "repeated pairs, the earliest kept: 1 of 5 interactions left out"
    ]
    assert (done.repeated_items, done.without_metadata) == (1, 1)


def test_2018(tmp_path: Path) -> None:
    imported("amazon", amazon_2018(tmp_path), tmp_path / "out")
    names = "item_id, image, text, features, price"
    assert rows(tmp_path / "out", "items", names) == [
        (
            "B01", "https://i.example/l.jpg", "Mat. Gaiam. Sports > Yoga. One <b>. Two.",
            "soft green", 1012.5,
        ),
        ("B02", None, None, None, None),
    ]  # fmt: skip


def test_2023(tmp_path: Path) -> None:
    imported("amazon", amazon_2023(tmp_path), tmp_path / "out")
    assert rows(tmp_path / "out") == [("AU", "B0P", 4.0, 1588687728923)]
    assert rows(tmp_path / "out", "items", "item_id, image, text") == [
        ("B0P", "https://i/l.jpg", "Soap. Howard. All Beauty")
    ]


def test_items_that_nobody_reviewed_can_stay(tmp_path: Path) -> None:
    imported("amazon", amazon_2014(tmp_path), tmp_path / "out", all_items=True)
    ids = [row[0] for row in rows(tmp_path / "out", "items", "item_id")]
    assert ids == ["0001", "0002", "0003", "0009"]


def test_reviews_alone_make_items_of_ids(tmp_path: Path) -> None:
    imported("amazon", amazon_2014(tmp_path)[0], tmp_path / "out")
    assert rows(tmp_path / "out", "items") == [("0001",), ("0002",), ("0009",)]


def test_metadata_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no reviews among the files"):
        imported("amazon", amazon_2014(tmp_path)[1], tmp_path / "out")
    assert not (tmp_path / "out").exists()


BAD = {
    '{"reviewerID": "A9", "asin": "00': "it is not an object in JSON",
    "[1]": "it is not an object in JSON",
    json.dumps(review("", "0001")): "there is no reviewerID",
    json.dumps({**review("A9", "1"), "asin": None}): "there is no asin",
    json.dumps({**review("A9", "1"), "overall": "many"}): "overall is missing or not a number",
    json.dumps({**review("A9", "1"), "overall": "NaN"}): "overall is missing or not a number",
    json.dumps({**review("A9", "1"), "unixReviewTime": 1.5}): "unixReviewTime is missing or not",
    json.dumps(review("A9", "1")).replace("J.", "\\ud800"): "it is not an object in JSON",
}


@pytest.mark.parametrize("line", BAD)
def test_a_bad_line_is_named_or_counted(tmp_path: Path, line: str) -> None:
    lines = list(map(json.dumps, REVIEWS))
    lines[2:2] = ["", line]  # a blank line is not bad, and counts as a line
    path = packed(tmp_path / "r.json.gz", lines)
    with pytest.raises(DataError, match=f"r.json.gz: line 4: {BAD[line]}.*--skip-bad-lines"):
        imported("amazon", path, tmp_path / "out")
    done = imported("amazon", path, tmp_path / "out", skip_bad_lines=True)
    assert (done.bad_lines, done.read) == (1, 5)
    assert f"r.json.gz: line 4: {BAD[line]}" in done.first_bad


ODD_DICTS = {
    "{'asin': '0004', 'title': __import__('os').getcwd()}": "is not part of a dict",
    "{'asin': '0004', 'x': " + "[" * 17 + "]" * 17 + "}": "nested more than 16 deep",
    "{'asin': '0004', 'x': " + "[" * 100_000: "nested more than 16 deep",
    "{'asin': '0004'": "a comma is missing",
    "{'asin': '0004'} + {}": "is not part of a dict",
    "{'asin': '0004'} {}": "something follows the dict",
    "{'asin': '0004', 'price': 1 2}": "a comma is missing",
    "{'asin': '0004', 'title': '\\ud800'}": "it is not an object in JSON",
    "{'asin': '0004', 'title': '\\x4'}": "is not a text",
    "{'asin': {1, 2}}": "a dict of texts by name is expected",
    "{'asin': '0004', 'title': " + "'a' " * 2 + "}": "a comma is missing",
}


@pytest.mark.parametrize("line", ODD_DICTS, ids=range(len(ODD_DICTS)))
def test_a_dict_that_is_none_is_named(tmp_path: Path, line: str) -> None:
    reviews, _ = amazon_2014(tmp_path)
    meta = packed(tmp_path / "meta.json.gz", [repr(META[0]), line])
    with pytest.raises(DataError, match=f"meta.json.gz: line 2: .*{ODD_DICTS[line]}"):
        imported("amazon", [reviews, meta], tmp_path / "out")
    done = imported("amazon", [reviews, meta], tmp_path / "out", skip_bad_lines=True)
    assert done.bad_lines == 1


def test_a_dict_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(literals, "LONGEST", 100)
    with pytest.raises(DataError, match=r"meta_X.json.gz: line \d: it has more than"):
        imported("amazon", amazon_2014(tmp_path), tmp_path / "out")


def test_dicts_are_read_as_python_reads_them(tmp_path: Path) -> None:
    odd = {"asin": "0001", "title": "a\t'b' \"c\" \u00e9\\", "price": -1.5e3, "brand": None}
    odd |= {"more": [True, False, (1, 2), {"x": []}, ()], "categories": [["A", "B"]]}
    reviews, _ = amazon_2014(tmp_path)
    meta = packed(tmp_path / "meta.json.gz", [repr(odd)])
    imported("amazon", [reviews, meta], tmp_path / "out")
    assert rows(tmp_path / "out", "items", "title, price, categories")[0] == (
        odd["title"], -1500.0, "A > B",
    )  # fmt: skip


def test_reviews_are_known_by_any_of_their_keys(tmp_path: Path) -> None:
    first = {name: value for name, value in REVIEWS[0].items() if name != "reviewerID"}
    path = packed(tmp_path / "r.json.gz", map(json.dumps, [first, *REVIEWS[1:]]))
    with pytest.raises(DataError, match="line 1: there is no reviewerID"):
        imported("amazon", path, tmp_path / "out")


def test_what_is_neither_is_refused(tmp_path: Path) -> None:
    for content, said in (
        ("{}", "has neither asin nor parent_asin"), ("[]", "a JSON object is expected"),
        ("\x89PNG", "it is not JSON"), ("", "is empty"),
    ):  # fmt: skip
        path = tmp_path / "x.json"
        path.write_text(content)
        with pytest.raises(DataError, match=said):
            imported("amazon", path, tmp_path / "out")
