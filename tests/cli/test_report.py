"""``mmx report`` as its users run it."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Shop


def test_a_run_and_a_store(shop: Shop, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    done = shop.json("report", "runs/vbpr-toy", "--out", str(out))
    assert done == {"report": str(out), "bytes": out.stat().st_size}
    page = out.read_text()
    assert page.startswith("<!doctype html><!-- mmx report -->\n")
    assert "data:image/jpeg;base64," in page  # the run says where its dataset and store are
    assert "<script" not in page
    assert "--overwrite" in shop.refused("report", "runs/vbpr-toy", "--out", str(out))
    shop.mmx("report", "cache/toy.parquet", "--out", str(out), "--overwrite")
    assert "Health of the store" in out.read_text()
    assert ".html" in shop.refused("report", "runs/vbpr-toy", "--out", "x.txt", code=2)
    other = tmp_path / "mine.html"
    other.write_text("<!doctype html>\nmine")
    shop.refused("report", "runs/vbpr-toy", "--out", str(other), "--overwrite")
    assert "mine" in other.read_text()


def test_paths_of_two_kinds_and_paths_that_are_not_there(shop: Shop, tmp_path: Path) -> None:
    out, run, store = str(tmp_path / "page.html"), "runs/vbpr-toy", "cache/toy.parquet"
    for paths, said in (
        ((run, "runs/none"), "no run or store at runs/none"),
        (("runs/none", run), "no run or store at runs/none"),
        ((store, "cache/none.parquet"), "no run or store at cache/none.parquet"),
        ((run, store), f"{store} is not a run as the others are; give it by --store {store}"),
        ((store, run), f"{store} is not a run as the others are; give it by --store {store}"),
        ((run, "data"), "data is Parquet but not an embedding store"),
        ((store, "data"), "data is Parquet but not an embedding store"),
    ):
        assert said in shop.refused("report", *paths, "--out", out, code=2 if "--store" in said
                                    else 1)  # fmt: skip
    assert not Path(out).exists()
