"""Datasets, pictures and stores in S3: a server process on loopback, credentials by environment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from mmx.cache.store import open_store
from mmx.cli.app import app
from mmx.data.dataset import load_interactions, load_items
from mmx.errors import DataError, OptionError, StoreError, TargetError
from mmx.extract.encoders import open_encoder
from mmx.extract.options import ExtractOptions, ExtractReport
from mmx.extract.pipeline import extract
from mmx.files import RemotePath
from mmx.sql import open_sql
from tests.catalogue import plain_catalogue, random_log, write_interactions, write_items
from tests.in_bucket import content, names, put, work_of
from tests.s3 import s3_server

ITEMS = 12
BUCKET = "s3://shop-bucket"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The server, and an environment that leads to it."""
    with s3_server(tmp_path_factory.mktemp("moto") / "log") as settings:
        import s3fs

        with pytest.MonkeyPatch.context() as patch:
            for name, value in settings.items():
                patch.setenv(name, value)
            s3fs.S3FileSystem.clear_instance_cache()
            yield
            s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def bucket(server: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """An empty bucket, and a user's cache of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    fs = RemotePath(BUCKET).fs
    fs.mkdir(BUCKET)
    yield BUCKET
    fs.rm(BUCKET, recursive=True)


def run(data: Path | str, out: Path | str, **options: object) -> ExtractReport:
    chosen = ExtractOptions(**{"batch_size": 4, "part_size": 5, **options})  # type: ignore[arg-type]
    return extract(load_items(data), open_encoder("toy"), out, chosen)


@pytest.fixture
def local(tmp_path: Path) -> Path:
    data = plain_catalogue(tmp_path / "shop", ITEMS)
    write_interactions(data, random_log(20, ITEMS, 6))
    return data


def test_a_catalogue_and_its_store_in_s3(local: Path, bucket: str, tmp_path: Path) -> None:
    data, out = put(local, f"{bucket}/shop"), f"{bucket}/stores/toy.parquet"
    run(local, tmp_path / "toy.parquet")
    report = run(data, out)
    assert (report.encoded, report.failures, str(report.store)) == (ITEMS, {}, out)
    assert load_interactions(data, load_items(data)).num_rows == 120

    here, there = open_store(tmp_path / "toy.parquet"), open_store(out)
    assert content(pa.Table.from_batches(there.batches())) == content(
        pa.Table.from_batches(here.batches())
    )
    assert (there.rows, there.size, there.verify()) == (ITEMS, RemotePath(out).size(), [])
    assert there.status_counts() == here.status_counts()
    ids = pa.array(["i7", "unknown", "i0"])
    for one, other in zip(there.vectors("image", ids), here.vectors("image", ids), strict=True):
        np.testing.assert_array_equal(one, other)
    assert names(f"{bucket}/stores") == ["stores/toy.parquet"]
    assert work_of(tmp_path) == []


def test_a_store_that_is_there_is_reused(local: Path, bucket: str, tmp_path: Path) -> None:
    data, out = put(local, f"{bucket}/shop"), f"{bucket}/toy.parquet"
    run(data, out)
    version = RemotePath(out).version()
    report = run(data, out)
    assert (report.encoded, report.reused) == (0, ITEMS)
    assert RemotePath(out).version() == version  # nothing new, nothing put

    rows = load_items(local).table.to_pylist()
    put(write_items(local, [*rows[2:], {"item_id": "new", "text": "one two"}]), data)
    with pytest.raises(StoreError, match=r"^s3://shop-bucket/toy\.parquet holds 2 items .*--prune"):
        run(data, out)
    assert RemotePath(out).version() == version
    report = run(data, out, prune=True)
    assert (report.encoded, report.reused, report.removed) == (1, ITEMS - 2, 2)
    assert open_store(out).rows == ITEMS - 1
    assert run(data, out, overwrite=True).encoded == ITEMS - 1
    assert work_of(tmp_path) == []


KILLED = """
import sys, time
from mmx.data.dataset import load_items
from mmx.extract.encoders import open_encoder
from mmx.extract.options import ExtractOptions
from mmx.extract.pipeline import extract

encoder = open_encoder("toy")
encode = encoder.encode_image
def slow(pixels):
    time.sleep(float(sys.argv[3]))
    return encode(pixels)
encoder.encode_image = slow
report = extract(load_items(sys.argv[1]), encoder, sys.argv[2], ExtractOptions(4, part_size=4))
print(report.encoded)
"""


def test_a_killed_run_continues(local: Path, bucket: str, tmp_path: Path) -> None:
    data, out = put(local, f"{bucket}/shop"), f"{bucket}/toy.parquet"
    run(data, f"{bucket}/whole.parquet", part_size=4)
    work = tmp_path / "user-cache/mmx/work"
    arguments = [sys.executable, "-c", KILLED, data, out]
    with subprocess.Popen([*arguments, "0.3"]) as process:
        end = time.monotonic() + 60
        while len(list(work.rglob("part-*.parquet"))) < 1 and time.monotonic() < end:
            time.sleep(0.02)
        with pytest.raises(TargetError, match="another process is writing s3://"):
            run(data, out, part_size=4)
        os.kill(process.pid, signal.SIGKILL)
    assert not RemotePath(out).exists()
    done = sum(pq.read_metadata(p).num_rows for p in work.rglob("part-*.parquet"))
    assert 4 <= done < ITEMS
    assert run(data, out, part_size=4).encoded == ITEMS - done
    assert RemotePath(out).read_bytes() == RemotePath(f"{bucket}/whole.parquet").read_bytes()
    assert work_of(tmp_path) == []


def test_a_store_that_could_not_be_put_is_put_later(
    local: Path, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = f"{bucket}/toy.parquet"
    with monkeypatch.context() as patch:
        patch.setattr(RemotePath, "upload", lambda *_: (_ for _ in ()).throw(DataError("no net")))
        with pytest.raises(StoreError, match=r"no net; the store is finished at .*run it again"):
            run(local, out)
    assert not RemotePath(out).exists()
    assert run(local, out).encoded == 0
    assert open_store(out).rows == ITEMS
    assert work_of(tmp_path) == []


def test_what_another_machine_put_meanwhile_is_not_lost(local: Path, bucket: str) -> None:
    """A killed run had seen the store of yesterday; today's has more items."""
    out, rows = f"{bucket}/toy.parquet", load_items(local).table.to_pylist()
    run(write_items(local, rows[:10]), out)
    with pytest.raises(StoreError, match="--prune"):  # stops after it has fetched
        run(write_items(local, rows[5:]), out)
    run(write_items(local, rows), f"{bucket}/more.parquet")
    RemotePath(out).fs.cp(f"{bucket}/more.parquet", out)
    assert run(local, out).reused == ITEMS


def test_a_folder_of_files_is_read_and_replaced(local: Path, bucket: str, tmp_path: Path) -> None:
    from mmx.cache.merge import RowSource
    from tests.cache.stores import merge_at

    run(local, tmp_path / "toy.parquet")
    store = open_store(tmp_path / "toy.parquet")
    schema = pq.read_schema(tmp_path / "toy.parquet")
    facts = {k.decode(): v.decode() for k, v in schema.metadata.items()}
    source = RowSource(store.files, schema.remove_metadata())
    merge_at(tmp_path / "many", source, np.arange(ITEMS), facts, block=5, max_file_rows=5)
    out = put(tmp_path / "many", f"{bucket}/toy.parquet")
    there = open_store(out)
    assert (len(there.files), there.rows, there.verify()) == (3, ITEMS, [])
    opened = open_sql(tmp_path, tmp_path, stores=[out])
    assert opened.ask("select count(*) as n from toy").to_pylist() == [{"n": ITEMS}]
    rows = load_items(local).table.to_pylist()
    assert run(write_items(local, [*rows, {"item_id": "x", "text": "x"}]), out).encoded == 1
    assert names(bucket) == ["toy.parquet"]
    assert open_store(out).rows == ITEMS + 1


@pytest.mark.slow
def test_commands_take_urls(
    local: Path, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data, out = put(local, f"{bucket}/shop"), f"{bucket}/toy.parquet"

    def mmx(*arguments: str) -> str:
        result = CliRunner().invoke(app, [*arguments, "--quiet"], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    mmx("extract", "--model", "toy", "--data", data, "--out", out, "--work", str(tmp_path / "w"))
    assert sorted((tmp_path / "w").iterdir()) == []
    facts = json.loads(mmx("info", out, "--verify", "--json"))
    assert (facts["rows"], facts["verified"]) == (ITEMS, True)
    assert json.loads(mmx("info", data, "--json"))["interactions"] == 120
    asked = "select count(*) as n from toy join items using (item_id) where toy.image is not null"
    found = json.loads(mmx("sql", asked, "--data", data, "--store", out, "--json"))
    assert found == [{"n": ITEMS}]
    mmx("train", "--data", data, "--features", f"{out}:image", "--epochs", "1", "--out", "r")
    config = json.loads((tmp_path / "r/config.json").read_text())
    assert (config["data"], config["features"][0]["store"]) == (data, out)
    with pytest.raises(OptionError, match="--work goes with"):
        mmx("extract", "--model", "toy", "--data", data, "--work", "w", "--out", "toy.parquet")


def test_pictures_by_url_in_shards_and_in_columns(local: Path, bucket: str, tmp_path: Path) -> None:
    run(local, tmp_path / "toy.parquet")
    expected = content(pq.read_table(tmp_path / "toy.parquet"))
    put(local, f"{bucket}/shop")
    table = load_items(local).table
    rows = table.to_pylist()

    absolute = [{**row, "image": f"{bucket}/shop/{row['image']}"} for row in rows]
    absolute[3]["image"] = f"{bucket}/shop/absent.png"
    report = run(write_items(tmp_path / "urls", absolute), tmp_path / "urls.parquet")
    assert report.failures == {"image: file not found": 1}
    found = content(pq.read_table(tmp_path / "urls.parquet"))
    assert [f for n, f in enumerate(found) if n != 3] == [
        e for n, e in enumerate(expected) if n != 3
    ]

    data = [(local / row["image"]).read_bytes() for row in rows]
    embedded = pa.table({"item_id": table["item_id"], "image": data, "text": table["text"]})
    pq.write_table(embedded, tmp_path / "items.parquet", row_group_size=7)
    RemotePath(f"{bucket}/embedded/items.parquet").upload(tmp_path / "items.parquet")
    run(f"{bucket}/embedded", tmp_path / "embedded.parquet")
    assert content(pq.read_table(tmp_path / "embedded.parquet")) == expected

    with tarfile.open(tmp_path / "0.tar", "w") as file:
        for row in rows:
            file.add(local / row["image"], f"{row['item_id']}.png")
            (tmp_path / "text").write_text(row["text"])
            file.add(tmp_path / "text", f"{row['item_id']}.txt")
    RemotePath(f"{bucket}/shards/0.tar").upload(tmp_path / "0.tar")
    run(f"{bucket}/shards/{{0..0}}.tar", tmp_path / "shards.parquet")
    assert content(pq.read_table(tmp_path / "shards.parquet")) == expected

    photos = [{"item_id": str(n)} for n in range(ITEMS)]
    pq.write_table(pa.Table.from_pylist(photos), tmp_path / "ids.parquet")
    named = load_items(tmp_path / "ids.parquet", f"{bucket}/shop/images")
    assert named.table["image"].to_pylist() == [f"{n}.png" for n in range(ITEMS)]


def test_mistakes_are_one_line(local: Path, bucket: str) -> None:
    with pytest.raises(DataError, match=r"s3://shop-bucket/none holds no items\.parquet"):
        load_items(f"{bucket}/none")
    with pytest.raises(StoreError, match="no store at s3://shop-bucket/none"):
        open_store(f"{bucket}/none")
    with pytest.raises(StoreError, match=r"there is no s3://absent-bucket"):
        run(local, "s3://absent-bucket/toy.parquet")
    with pytest.raises(StoreError, match="a web server takes no files"):
        run(local, "https://example.org/toy.parquet")
    with pytest.raises(DataError, match="no driver is known for nonsense://"):
        load_items("nonsense://x")
    with pytest.raises(StoreError, match="Parquet but not an embedding store"):
        open_store(f"{put(local, f'{bucket}/shop')}/items.parquet")


def test_a_missing_driver_is_named() -> None:
    script = "import sys; sys.modules['s3fs'] = None; from mmx.cache.store import open_store as o\n"
    script += "try: o('s3://b/x.parquet')\nexcept Exception as e: print(type(e).__name__, e)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith(
        "DataError s3://b/x.parquet: the driver of s3:// is not installed;"
    )
    assert "pip install 'mmx[s3]'" in done.stdout


def test_only_a_store_is_overwritten_elsewhere(local: Path, bucket: str) -> None:
    """A catalogue in an object store is none."""
    data, out = put(local, f"{bucket}/kept"), f"{bucket}/kept.parquet"
    catalogue = RemotePath(f"{data}/items.parquet")
    before = catalogue.read_bytes()
    for place in (str(catalogue), data):
        with pytest.raises(TargetError, match=r"is not an embedding store, .* set --out elsewhere"):
            run(data, place, overwrite=True)
    assert catalogue.read_bytes() == before
    run(data, out)
    assert run(data, out, overwrite=True).encoded == ITEMS
