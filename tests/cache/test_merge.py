"""Stores of several files: like one file to every reader, and atomic like one."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmx.atomic import claimed
from mmx.cache import merge as merging
from mmx.cache.kind import STORE
from mmx.cache.merge import RowSource
from mmx.cache.parts import Parts
from mmx.cache.schema import metadata, store_schema
from mmx.cache.store import open_store
from mmx.data.dataset import load_items
from mmx.errors import StoreError, TargetError
from mmx.extract.encoders import open_encoder
from mmx.extract.options import ExtractOptions
from mmx.extract.pipeline import extract
from mmx.sql import open_sql
from tests.cache.stores import CARD, make_store, merge_at, names, rows, rows_of
from tests.catalogue import plain_catalogue

FACTS = metadata(CARD, "float32", "f")


def test_a_folder_reads_like_one_file(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    one = make_store(cache / "one.parquet")
    many = make_store(cache / "many.parquet", max_file_rows=8)
    assert names(many.path) == [f"part-{n:05d}.parquet" for n in range(3)]
    assert many.file_rows == (8, 8, 4)
    assert rows(one) == rows(many)
    assert one.verify() == many.verify() == []
    assert one.status_counts() == many.status_counts()
    ids = pa.array(["i19", "none", "i3", "i1", "i8"])
    for modality in ("image", "text"):
        for left, right in zip(
            one.vectors(modality, ids), many.vectors(modality, ids), strict=True
        ):
            np.testing.assert_array_equal(left, right)
    opened = open_sql(cache, tmp_path / "runs")
    sql = "select item_id, array_inner_product(image, image) as s from {} order by 1"
    assert opened.ask(sql.format("one")).equals(opened.ask(sql.format("many")))


def test_other_tools_read_the_folder(tmp_path: Path) -> None:
    many = make_store(tmp_path / "many.parquet", max_file_rows=8)
    ids = [row["item_id"] for row in rows(many)]
    assert pd.read_parquet(many.path)["item_id"].tolist() == ids
    assert pl.read_parquet(many.path)["item_id"].to_list() == ids
    assert pl.read_parquet(many.path / "*.parquet")["item_id"].to_list() == ids
    for pattern in ("many.parquet", "many.parquet/*.parquet"):
        found = duckdb.sql(f"select item_id from read_parquet('{tmp_path / pattern}')").fetchall()
        assert [name for (name,) in found] == ids
    for file in many.files:
        assert b"mmx.card" in pq.read_metadata(file).metadata


def test_bytes_decide_too(tmp_path: Path) -> None:
    source = RowSource(make_store(tmp_path / "a").files, store_schema(CARD, "float32"))
    merge_at(tmp_path / "b", source, np.arange(20), FACTS, block=4, max_file_bytes=10 * 5 * 4)
    assert open_store(tmp_path / "b").file_rows == (8, 8, 4)  # 10 rows, in whole row groups


def test_rows_come_in_the_order_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the window, from several files, with repetitions."""
    stores = [make_store(tmp_path / name, [f"{name}{n}" for n in range(9)]) for name in "ab"]
    source = RowSource([f for s in stores for f in s.files], store_schema(CARD, "float32"))
    everything = [row for store in stores for row in rows(store)]
    order = np.random.default_rng(3).integers(0, 18, 40)
    for window in (1, 7 * 20, 1 << 20):
        monkeypatch.setattr(merging, "WINDOW_BYTES", window)
        merge_at(tmp_path / "c", source, order, FACTS, block=3)
        assert rows(open_store(tmp_path / "c")) == [everything[n] for n in order]


def test_the_same_rows_are_the_same_bytes_wherever_they_lay(tmp_path: Path) -> None:
    """Statuses, gaps and long texts in other row groups, files and spec before."""
    ids = [f"i{n}" for n in range(60)]
    make_store(tmp_path / "one", ids, block=60)
    order, columns = np.random.default_rng(0).permutation(60), rows_of(ids)
    moved = {name: [values[n] for n in order] for name, values in columns.items()}
    make_store(tmp_path / "many", moved.pop("item_id"), block=4, max_file_rows=12, **moved)
    for name, place in (("one", np.arange(60)), ("many", np.argsort(order))):
        source = RowSource(open_store(tmp_path / name).files, store_schema(CARD, "float32"))
        merge_at(tmp_path / f"from {name}", source, place, FACTS, block=7)
    assert (tmp_path / "from one").read_bytes() == (tmp_path / "from many").read_bytes()


def test_a_group_is_read_once_in_a_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shuffled rows cost one pass over the file, not one for each block."""
    source = RowSource(make_store(tmp_path / "a", 400).files, store_schema(CARD, "float32"))
    read: list[int] = []
    original = pq.ParquetFile.read_row_group
    monkeypatch.setattr(
        pq.ParquetFile, "read_row_group", lambda f, g, **o: read.append(g) or original(f, g, **o)
    )
    order = np.random.default_rng(1).permutation(400)
    merge_at(tmp_path / "b", source, order, FACTS, block=4)
    assert sorted(read) == list(range(100))


def test_lost_and_foreign_files_are_noticed(tmp_path: Path) -> None:
    many = make_store(tmp_path / "many.parquet", max_file_rows=8)
    kept = many.files[1].read_bytes()
    many.files[1].unlink()
    with pytest.raises(StoreError, match=r"has lost files: 12 of 20 rows are there; .*--overwrite"):
        open_store(many.path)
    many.files[1].write_bytes(kept)
    make_store(many.path / "part-00009.parquet", ["x"])
    with pytest.raises(StoreError, match="different stores"):
        open_store(many.path)


def test_one_file_and_a_folder_replace_each_other(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    for limit in (None, 8, 4, None):
        make_store(path, max_file_rows=limit)
        assert len(open_store(path).files) == {None: 1, 8: 3, 4: 5}[limit]
        assert names(tmp_path) == ["a.parquet"]


def test_a_folder_of_other_things_is_never_replaced(tmp_path: Path) -> None:
    data = plain_catalogue(tmp_path / "data", items=3)
    with pytest.raises(TargetError, match=r"is not an embedding store.*set --out elsewhere"):
        make_store(data)
    (tmp_path / "t").mkdir()
    pq.write_table(pa.table({"x": [1]}), tmp_path / "t" / "part-00000.parquet")
    with pytest.raises(TargetError, match="is not an embedding store"):
        make_store(tmp_path / "t")
    encoder, options = open_encoder("toy"), ExtractOptions(overwrite=True)
    with pytest.raises(TargetError, match="is not an embedding store"):
        extract(load_items(data), encoder, data, options)
    assert (data / "items.parquet").exists()
    assert names(tmp_path) == ["data", "t"]


def test_extraction_continues_over_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "MAX_FILE_ROWS", 8)
    out, options = tmp_path / "toy.parquet", ExtractOptions(part_size=4)
    extract(load_items(plain_catalogue(tmp_path / "d", 10)), open_encoder("toy"), out, options)
    assert open_store(out).file_rows == (8, 2)
    more = load_items(plain_catalogue(tmp_path / "d", 21))
    report = extract(more, open_encoder("toy"), out, options)
    assert (report.encoded, report.reused) == (11, 10)
    assert open_store(out).file_rows == (8, 8, 5)
    extract(more, open_encoder("toy"), tmp_path / "again.parquet", options)
    assert rows(open_store(out)) == rows(open_store(tmp_path / "again.parquet"))
    assert names(tmp_path) == ["again.parquet", "d", "toy.parquet"]


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.cache.stores import make_store
from mmx.cache import merge
from mmx.cache.parts import vector_writer

def writer(path, schema):
    if path.name == "part-00002.parquet":
        os.kill(os.getpid(), signal.SIGKILL)
    return vector_writer(path, schema)

merge.vector_writer = writer
make_store(Path(sys.argv[1]), seed=1, max_file_rows=8)
"""


@pytest.mark.parametrize("limit", [None, 8])
def test_a_kill_between_files_leaves_the_old_store(tmp_path: Path, limit: int | None) -> None:
    old = make_store(tmp_path / "a.parquet", max_file_rows=limit)
    before = [file.read_bytes() for file in old.files]
    command = [sys.executable, "-c", KILLED, str(old.path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert len(names(tmp_path)) == 3  # with the unfinished parts and a lock that no process holds
    again = open_store(old.path)
    assert [file.read_bytes() for file in again.files] == before
    assert again.verify() == []
    make_store(old.path, seed=1, max_file_rows=8)
    assert names(tmp_path) == ["a.parquet"]
    assert rows(open_store(old.path)) == rows(make_store(tmp_path / "b", seed=1))


def test_the_next_extraction_sweeps(tmp_path: Path) -> None:
    """A run killed while it wrote the store, or a part, leaves files that the next one deletes."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / "a.parts").mkdir()
    for folder, name in ((tmp_path, "a"), (tmp_path / "a.parts", "part-000000.parquet")):
        (folder / f".{name}.{ended.pid}.tmp").write_text("half")
    with claimed(tmp_path / "a", STORE), Parts(tmp_path / "a", CARD, "float32"):
        assert names(tmp_path) == [".a.lock", "a.parts"]
        assert names(tmp_path / "a.parts") == ["job.json"]


def test_an_unreadable_part_is_one_clear_error(tmp_path: Path) -> None:
    folder = tmp_path / "a.parts"
    folder.mkdir()
    (folder / "part-000000.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(StoreError, match=r"part-000000.parquet is damaged \(.*\); delete it"):
        RowSource([folder / "part-000000.parquet"], store_schema(CARD, "float32"))
