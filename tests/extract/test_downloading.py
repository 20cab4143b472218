"""Pictures of an imported dataset, from a web server into its folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mmx.data.dataset import load_items
from mmx.data.formats.importing import import_dataset
from mmx.data.formats.writing import RECORD, only_recorded
from mmx.errors import DataError, TargetError
from mmx.extract import downloading
from mmx.extract.checking.inputs import check_inputs
from mmx.extract.downloading import download_pictures, keep_pictures_of
from tests.data.formats.dumps import imported, packed, review
from tests.extract.photographs import jpeg
from tests.extract.servers import QUICK, Misbehaving, Server, serving


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "web/images").mkdir(parents=True)
    for name in "ab":
        (tmp_path / f"web/images/{name}").write_bytes(jpeg(40, 30 + ord(name)))
    with serving(tmp_path / "web", Misbehaving) as found:
        yield found


def shop(folder: Path, server: Server, *paths: str | None) -> Path:
    """An imported dataset with a picture at each path."""
    items = [
        {"asin": f"i{n}", "imUrl": path and (path if ":" in path else server.url() + path)}
        for n, path in enumerate(paths)
    ]
    reviews = [json.dumps(review("u", item["asin"])) for item in items]
    sources = [packed(folder / "r.json.gz", reviews), packed(folder / "m.json.gz",
                                                             map(repr, items))]  # fmt: skip
    imported("amazon", sources, folder / "shop")
    return folder / "shop"


PATHS = ("/images/a", "/images/b", "/images/a", "/status/404", "/plain", "/heavy", None,
         "ftp://x/1.jpg", "p/own.jpg:")  # fmt: skip


def test_pictures_are_fetched_once(tmp_path: Path, server: Server) -> None:
    folder, steps = shop(tmp_path, server, *PATHS), list[tuple[int, int]]()
    before = pq.read_table(folder / "items.parquet")
    done = download_pictures(folder, QUICK, progress=lambda *step: steps.append(step))
    assert (done.pictures, done.fetched) == (5, 2)
    assert done.failed == {"not found by the host": 1, "not an image": 1, "too large": 1}
    assert steps == [(n, 5) for n in range(1, 6)]
    table = pq.read_table(folder / "items.parquet")
    images, urls = table["image"].to_pylist(), table["image_url"].to_pylist()
    assert urls == before["image"].to_pylist()
    assert images[0] == images[2] != images[1]
    assert images[3:] == urls[3:]
    assert (folder / images[0]).read_bytes() == jpeg(40, 30 + ord("a"))
    assert Path(images[0]).match("pictures/*/*.jpg")
    assert table.drop_columns(["image", "image_url"]) == before.drop_columns(["image"])
    tried = {row["url"]: row for row in pq.read_table(folder / "pictures.parquet").to_pylist()}
    assert [tried[url]["status"] for url in urls[:5]] == [
        "ok", "ok", "ok", "not found by the host", "not an image",
    ]  # fmt: skip
    assert json.loads((folder / "import.json").read_text())["pictures"]["pictures"] == 2
    seen = server.requests.copy()
    assert seen["/images/a"] == 1
    again = download_pictures(folder, QUICK)
    assert (again.pictures, again.fetched, again.failed) == (5, 0, done.failed)
    assert server.requests == seen
    assert pq.read_table(folder / "items.parquet") == table
    download_pictures(folder, QUICK, retry_failed=True)
    assert server.requests["/status/404"] == 2 * seen["/status/404"]
    assert server.requests["/images/a"] == 1
    found = check_inputs(load_items(str(folder)))["pictures"]
    assert (found["ok"], found["missing"], found["not_looked_at"]) == (3, 1, 4)


def test_a_killed_download_continues(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shop(tmp_path, server, "/images/a", "/status/404", "/images/b")
    monkeypatch.setattr(downloading, "AHEAD", 1)

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download_pictures(folder, QUICK, progress=stop)
    assert "image_url" not in pq.read_schema(folder / "items.parquet").names
    assert only_recorded(folder, RECORD)  # what is there may be replaced by another import
    (half,) = (folder / "pictures").glob("*/*")
    half.with_name(f".{half.name}.tmp").write_bytes(b"half")
    name = downloading._name(server.url() + "/images/b")
    (folder / "pictures" / name[:2]).mkdir(exist_ok=True)
    (folder / f"pictures/{name[:2]}/{name}.jpg").write_bytes(b"")  # the machine lost power
    (folder / ".items.parquet.999999999.tmp").write_bytes(b"")
    done = download_pictures(folder, QUICK)
    assert (done.pictures, done.fetched) == (3, 1)
    assert server.requests["/images/a"] == server.requests["/status/404"] == 1
    assert not list(folder.rglob(".*"))
    assert {path.name for path in folder.iterdir()} == {
        "items.parquet", "interactions.parquet", "import.json", "pictures", "pictures.parquet",
    }  # fmt: skip


def test_a_new_import_keeps_them(tmp_path: Path, server: Server) -> None:
    folder = shop(tmp_path, server, "/images/a", "/status/404")
    sources = [tmp_path / "r.json.gz", tmp_path / "m.json.gz"]
    download_pictures(folder, QUICK)
    (folder / "dataset.md").write_text("mine")
    with pytest.raises(TargetError, match="holds other things too"):
        import_dataset("amazon", sources, folder, overwrite=True)
    (folder / "dataset.md").write_text("<!-- dataset card, made by mmx data check -->\n# x\n")
    keep = keep_pictures_of(folder)
    import_dataset("amazon", sources, folder, overwrite=True, beside=keep)
    assert not (folder / "dataset.md").exists()
    before = server.requests.copy()
    done = download_pictures(folder, QUICK)
    assert (done.pictures, done.fetched, sum(done.failed.values())) == (2, 0, 1)
    assert server.requests == before
    (folder / "pictures/mine.jpg").write_bytes(b"")
    with pytest.raises(TargetError, match="holds other things too"):
        import_dataset("amazon", sources, folder, overwrite=True, beside=keep)


def test_private_addresses_and_other_folders_are_refused(tmp_path: Path, server: Server) -> None:
    folder = shop(tmp_path, server, "/images/a")
    done = download_pictures(folder, replace(QUICK, allow_private=False))
    assert done.failed == {"private address; --allow-private": 1}
    assert not server.requests
    for text in (None, "[]", '{"files": 1}'):
        (folder / "import.json").unlink()
        if text is not None:
            (folder / "import.json").write_text(text)
        else:
            (folder / "import.json").touch()
        with pytest.raises(DataError, match="was not written by `mmx import`"):
            download_pictures(folder, QUICK)


def test_a_table_without_pictures_stays_as_it_is(tmp_path: Path) -> None:
    sources = [packed(tmp_path / "r.json.gz", [json.dumps(review("u", "i"))])]
    imported("amazon", sources, tmp_path / "shop")
    before = (tmp_path / "shop/items.parquet").read_bytes()
    assert download_pictures(tmp_path / "shop", QUICK).pictures == 0
    assert (tmp_path / "shop/items.parquet").read_bytes() == before


def test_a_column_of_the_source_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("user_id,item_id,image,image_url\nu,i,http://a/1,mine\n")
    imported("csv", tmp_path / "x.csv", tmp_path / "shop")
    with pytest.raises(DataError, match="has a column image_url of its own"):
        download_pictures(tmp_path / "shop", QUICK)
    options = {"columns": {"image": "image_url"}}
    (tmp_path / "x.csv").write_text("user_id,item_id,image_url\nu,i,ftp://mine\n")
    imported("csv", tmp_path / "x.csv", tmp_path / "other", **options)
    assert download_pictures(tmp_path / "other", QUICK).pictures == 0
