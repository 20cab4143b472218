"""Zip archives as sources."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from mmx.atomic import file_sha256
from mmx.errors import DataError
from tests.data.formats.dumps import amazon_2014, imported, rows

DATA = "196\t1\t3\t881250949\n186\t2\t3\t891717742\n"
MOVIE = f"1|Toy Story (1995)|01-Jan-1995||http://x|{'0|' * 5}1{'|0' * 13}\n"
ML = {"ml-100k/u.data": DATA, "ml-100k/u.item": MOVIE, "ml-100k/README": "x"}


def zipped(path: Path, members: dict[str, str]) -> Path:
    """An archive of texts."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


def test_movielens_from_its_archive(tmp_path: Path) -> None:
    other = {"__MACOSX/ml-100k/u.data": "", "ml-100k/sub/": ""}
    path, out = zipped(tmp_path / "ml-100k.zip", ML | other), tmp_path / "out"
    imported("movielens", path, out)
    assert rows(out) == [("196", "1", 3.0, 881250949), ("186", "2", 3.0, 891717742)]
    assert rows(out, "items", "item_id, title, genres") == [
        ("1", "Toy Story (1995)", "Comedy"), ("2", None, None),
    ]  # fmt: skip
    record = json.loads((out / "import.json").read_text())
    assert record["sources"] == [
        {"name": "ml-100k.zip", "bytes": path.stat().st_size, "sha256": file_sha256(path)}
    ]
    assert {entry.name for entry in out.iterdir()} == {*record["files"]}


def test_archives_of_other_formats(tmp_path: Path) -> None:
    zipped(tmp_path / "shop.zip", {"orders.csv": "user_id,item_id,title\nu,i,Mug\n"})
    imported("csv", tmp_path / "shop.zip", tmp_path / "shop")
    assert rows(tmp_path / "shop", "items") == [("i", "Mug")]
    reviews, meta = amazon_2014(tmp_path)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(reviews, "x/reviews.json.gz")
    imported("amazon", [tmp_path / "a.zip", meta], tmp_path / "out")
    assert len(rows(tmp_path / "out")) == 4
    with pytest.raises(DataError, match=r"a.zip: archives of this format are not read; unpack it"):
        imported("mmrec", tmp_path / "a.zip", tmp_path / "other")


def test_names_lead_nowhere_else(tmp_path: Path) -> None:
    path = zipped(tmp_path / "ml.zip", {"../../u.data": DATA, "C:\\x\\u.item": MOVIE})
    imported("movielens", path, tmp_path / "a/out")
    assert len(rows(tmp_path / "a/out")) == 2
    assert {p.name for p in tmp_path.rglob("u.*")} == set()


def test_what_is_wrong_is_said_of_the_archive(tmp_path: Path) -> None:
    path = tmp_path / "ml.zip"
    for members, options, said in (
        (ML | {"ml-100k/u.data": DATA + "1\t2\t3\n"}, {}, r"ml.zip/u.data: line 3: 3 cells, 4 are"),
        ({"a/README": "x"}, {}, r"ml.zip holds no u.data or .*, but README$"),
        ({}, {}, r"ml.zip holds no u.data or .*, but nothing$"),
        (ML | {"old/u.data": DATA}, {}, "holds two files called u.data; unpack it yourself"),
        (ML, {"max_size": 40 / 2**30}, "GiB when it is unpacked; --max-size sets another limit"),
    ):
        with pytest.raises(DataError, match=said) as raised:
            imported("movielens", zipped(path, members), tmp_path / "out", **options)
        assert "unpacked/" not in str(raised.value)
        assert not (tmp_path / "out").exists()
    done = imported(
        "movielens", zipped(path, ML | {"ml-100k/u.data": DATA + "x\n"}), tmp_path / "out",
        skip_bad_lines=True,
    )  # fmt: skip
    assert done.first_bad == f"{path}/u.data: line 3: 1 cells, 4 are expected"


def test_damaged_and_encrypted_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "ml.zip", ML)
    whole = path.read_bytes()
    body = whole.index(b"u.data") + 10
    lying = bytearray(whole)
    lying[body : body + 8] = bytes(8)
    encrypted = bytearray(whole)
    for sign, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        encrypted[whole.index(sign) + flags] |= 1
    for data, said in (
        (whole[: len(whole) // 2], r"ml.zip is damaged \(File is not a zip file\); download it"),
        (bytes(lying), r"ml.zip is damaged \("),
        (bytes(encrypted), r"u.data is encrypted; unpack it yourself"),
    ):
        path.write_bytes(data)
        with pytest.raises(DataError, match=said):
            imported("movielens", path, tmp_path / "out")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("u.data", DATA)
    monkeypatch.setattr("zipfile.bz2", None)
    with pytest.raises(DataError, match="unpack it yourself"):
        imported("movielens", path, tmp_path / "out")
