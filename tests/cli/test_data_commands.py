"""``mmx data check`` and ``mmx data pictures`` as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import Shop
from tests.data.formats.dumps import packed, review
from tests.extract.photographs import jpeg
from tests.extract.servers import Files, serving


@pytest.mark.slow
def test_check(shop: Shop) -> None:
    done = shop.mmx("data", "check", "data", "--split", "random", "--k-core", "3")
    for said in ("readable", "look alike", "--k-core 3", "random, seed 0", "unknown without",
                 "interactions of the top 10 % of items", "SHA-256 of items.parquet"):  # fmt: skip
        assert said in done.stdout
    card = shop.path / "card.md"
    arguments = ("data", "check", "data", "--out", "card.md", "--license", "CC0 | <b>")
    report = json.loads(shop.mmx(*arguments, "--format", "json").stdout)
    assert report["license"] == "CC0 | <b>"
    text = card.read_text()
    assert text.startswith("<!-- dataset card, made by mmx data check -->\n\n# data\n")
    assert "| licence | CC0 \\| \\<b\\> |" in text
    assert "| train | " in text
    for wrong, said in (
        (arguments, "card.md exists; set --out elsewhere, or --overwrite"),
        (("data", "check", "data", "--out", "card.txt"), "ends in .md or .json is expected"),
        (("data", "check", "data", "--overwrite"), "--overwrite goes with --out"),
        (("data", "check", "data", "--format", "xml"), "--format xml is unknown"),
        (("data", "check", "nowhere"), "no dataset at nowhere"),
        (("data", "pictures", "data"), "data was not written by `mmx import`"),
    ):
        code = 2 if "goes with" in said or "expected" in said or "unknown" in said else 1
        assert said in shop.refused(*wrong, code=code)


@pytest.mark.slow
def test_pictures_from_import_to_check(tmp_path: Path) -> None:
    there = Shop(tmp_path)
    (tmp_path / "web").mkdir()
    (tmp_path / "web/1.jpg").write_bytes(jpeg(40, 30))
    packed(tmp_path / "r.json.gz", [json.dumps(review("u", f"i{n}")) for n in range(3)])
    with serving(tmp_path / "web", Files) as server:
        items = [{"asin": f"i{n}", "imUrl": f"{server.url()}/{n}.jpg"} for n in range(3)]
        packed(tmp_path / "m.json.gz", map(repr, items))
        line = ("import", "amazon", "r.json.gz", "m.json.gz", "--out", "a b", "--license", "own")
        assert "--allow-private goes with --pictures" in there.refused(
            *line, "--allow-private", code=2
        )
        done = there.mmx(*line, "--pictures", "--allow-private", "--json")
        assert json.loads(done.stdout)["extra"]["pictures"]["fetched"] == 1
        assert "a b: 1 of 3 pictures are there, 1 of them new" in done.stderr
        assert "`mmx data pictures 'a b' --retry-failed` tries them again" in done.stderr
        (tmp_path / "web/2.jpg").write_bytes(jpeg(50, 30))
        again = there.json("data", "pictures", "a b", "--retry-failed", "--allow-private")
        assert (again["fetched"], again["failed"]) == (1, {"not found by the host": 1})
    images = pq.read_table(tmp_path / "a b/items.parquet")["image"].to_pylist()
    assert [image.startswith("pictures/") for image in images] == [False, True, True]
    card = ("--out", "a b/dataset.json")
    report = there.json("data", "check", "a b", *card)
    assert (report["source"], report["license"]) == ("amazon: r.json.gz, m.json.gz", "own")
    assert report["pictures"]["ok"] == 2
    kept = json.loads((tmp_path / "a b/dataset.json").read_text())
    assert kept == {"made_by": "mmx data check", **report}
    there.mmx("data", "check", "a b", *card, "--overwrite")
    there.mmx(*line, "--overwrite")
    assert not (tmp_path / "a b/dataset.json").exists()
    assert len([*(tmp_path / "a b/pictures").glob("*/*.jpg")]) == 2
