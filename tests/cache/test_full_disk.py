"""A full disk and a read-only one: one clear line, nothing lost, and the same command continues."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from mmx.atomic import write_text
from mmx.cache.export import export
from mmx.cache.merge import RowSource
from mmx.cache.parts import Parts
from mmx.cache.schema import metadata, store_schema
from mmx.cache.store import open_store
from mmx.cache.tools import Target, filter_store, unite
from mmx.data.dataset import load_items
from mmx.errors import TargetError
from mmx.extract.encoders import open_encoder
from mmx.extract.options import ExtractOptions
from mmx.extract.pipeline import extract
from tests.cache.stores import CARD, make_store, merge_at, names, rows
from tests.catalogue import plain_catalogue, write_items
from tests.full_disk import FULL, mounted, no_room

SCHEMA = store_schema(CARD, "float32")


def test_a_part(tmp_path: Path) -> None:
    store = make_store(tmp_path / "from")
    table = RowSource(store.files, SCHEMA).take(np.arange(20))
    with Parts(tmp_path / "a", CARD, "float32") as parts:
        parts.write(0, table)
        with no_room(500), pytest.raises(TargetError, match=FULL):
            parts.write(1, table)
        assert [path.name for path in parts.files()] == ["part-000000.parquet"]
    assert names(tmp_path / "a.parts") == ["job.json", "part-000000.parquet"]
    with Parts(tmp_path / "a", CARD, "float32") as parts:  # the same job continues
        parts.write(parts.next_number(), table)
        assert len(parts.files()) == 2


def test_not_even_a_job(tmp_path: Path) -> None:
    with (
        no_room(10),
        pytest.raises(TargetError, match=FULL),
        Parts(tmp_path / "a", CARD, "float32"),
    ):
        pass
    assert names(tmp_path) == []


@pytest.mark.parametrize("limit", [None, 8])
def test_a_merge(tmp_path: Path, limit: int | None) -> None:
    old = make_store(tmp_path / "a", max_file_rows=limit)
    before = rows(old)
    source, facts = RowSource(old.files, SCHEMA), metadata(CARD, "float32", "f")
    for again in (None, 8):
        with no_room(900), pytest.raises(TargetError, match=FULL):
            merge_at(old.path, source, np.arange(20), facts, block=4, max_file_rows=again)
        assert names(tmp_path) == ["a"]
        assert rows(open_store(old.path)) == before


def test_store_commands(tmp_path: Path) -> None:
    a, b = make_store(tmp_path / "a"), make_store(tmp_path / "b", ["x"])
    before = rows(a)
    for overwrite in (False, True):
        out = a.path if overwrite else tmp_path / "c"
        target = Target(out, overwrite)
        with no_room(900):
            with pytest.raises(TargetError, match=FULL):
                unite([a.path, b.path], target)
            with pytest.raises(TargetError, match=FULL):
                filter_store(a.path, target, where="text is not null")
            for layout in ("npy", "safetensors", "mmrec", "embeddings"):
                with pytest.raises(TargetError, match=FULL):
                    export(a.path, layout, tmp_path / "d")
    assert names(tmp_path) == ["a", "b"]
    assert rows(open_store(a.path)) == before


def test_a_truly_full_disk(tmp_path: Path) -> None:
    """Extraction stops while parts are written; with room made, it continues and ends the same."""
    data = load_items(plain_catalogue(tmp_path / "d", items=60))
    options = ExtractOptions(part_size=5)
    extract(data, open_encoder("toy"), tmp_path / "whole.parquet", options)
    with mounted(tmp_path / "m", "size=256k") as disk:
        (disk / "ballast").write_bytes(b"x" * (220 << 10))
        with pytest.raises(TargetError, match=FULL):
            extract(data, open_encoder("toy"), disk / "toy.parquet", options)
        kept = len(list((disk / "toy.parquet.parts").glob("part-*.parquet")))
        assert 0 < kept < 12
        assert not (disk / "toy.parquet").exists()
        (disk / "ballast").unlink()
        extract(data, open_encoder("toy"), disk / "toy.parquet", options)
        assert names(disk) == ["toy.parquet"]
        found = (disk / "toy.parquet").read_bytes()
    assert found == (tmp_path / "whole.parquet").read_bytes()


def test_no_room_for_the_store_next_to_its_parts(tmp_path: Path) -> None:
    """Files of the parts' size still go, a file of the store's size does not."""
    data = load_items(plain_catalogue(tmp_path / "d", items=60))
    options, out = ExtractOptions(part_size=5), tmp_path / "toy.parquet"
    extract(data, open_encoder("toy"), out, options)
    before = out.read_bytes()
    texts = [{"item_id": f"i{n}", "text": f"new {n}"} for n in range(60)]
    changed = load_items(write_items(tmp_path / "d", texts))
    with no_room(len(before) // 2), pytest.raises(TargetError, match=FULL):
        extract(changed, open_encoder("toy"), out, options)
    assert out.read_bytes() == before
    assert len(list((tmp_path / "toy.parquet.parts").glob("part-*.parquet"))) == 12
    report = extract(changed, open_encoder("toy"), out, options)
    assert report.encoded == 0  # everything was in the parts
    assert names(tmp_path) == ["d", "toy.parquet"]
    assert open_store(out).status_counts()["image"] == {"missing": 60}


def test_read_only(tmp_path: Path) -> None:
    with mounted(tmp_path / "m", "size=1m") as disk:
        store = make_store(disk / "a", max_file_rows=8)
        data = load_items(plain_catalogue(tmp_path / "d", items=3))
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        said = r"cannot write .*: Read-only file system; set --out elsewhere"
        for attempt in (
            lambda: write_text(disk / "x", "x"),
            lambda: Parts(disk / "b", CARD, "float32").__enter__(),
            lambda: extract(data, open_encoder("toy"), disk / "toy.parquet"),
            lambda: filter_store(store.path, Target(disk / "b"), where="true"),
            lambda: filter_store(store.path, Target(store.path, True), where="true"),
            lambda: export(store.path, "npy", disk / "x"),
        ):
            with pytest.raises(TargetError, match=said):
                attempt()
        assert open_store(store.path).verify() == []
        assert names(disk) == ["a"]
