"""A flipped bit in a store's file is an error, or changes neither the table nor the card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmx.cache.diff import diff
from mmx.cache.export import export
from mmx.cache.merge import RowSource
from mmx.cache.parts import Parts
from mmx.cache.schema import store_schema
from mmx.cache.seal import SEAL, read_footer
from mmx.cache.store import Store, open_store
from mmx.cache.tools import Target, filter_store, unite
from mmx.data.vocabulary import Vocabulary
from mmx.errors import DamagedError, StoreError
from mmx.files import RemotePath
from mmx.recommend.features import FeatureSpec, load_features
from tests.cache.stores import CARD, make_store, names, rows, rows_of
from tests.flips import flip, flip_number, flipped, footer_start

MENDS = r" is damaged \(.+\); extract again with --overwrite$"


def everything(path: Path) -> tuple[Any, ...]:
    """All that ``mmx info --verify`` looks at."""
    store = open_store(path)
    facts = (store.card, store.dtype, store.rows, store.versions, store.items_fingerprint)
    return facts, rows(store), store.verify(), store.status_counts()


def damage_is_noticed(path: Path, bits: np.ndarray, read: Callable[[Path], Any]) -> int:
    """How many of the flips are errors; those that are none must read as before."""
    before, errors = read(path), []
    for bit in bits.tolist():
        with flipped(path, bit):
            try:
                assert read(path) == before, f"bit {bit} went unnoticed"
            except StoreError as error:
                errors.append(str(error))
    assert not any("\n" in error for error in errors)
    return len(errors)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_500_flips_over_a_whole_file(tmp_path: Path, dtype: str) -> None:
    path = make_store(tmp_path / "a.parquet", 12, block=6, dtype=dtype).path
    bits = np.random.default_rng(11).integers(0, 8 * path.stat().st_size, 500)
    assert damage_is_noticed(path, bits, everything) > 450


def test_200_flips_in_the_pages(tmp_path: Path) -> None:
    """Of many rows, so that most bits are of vectors, ids, statuses and hashes."""
    path = make_store(tmp_path / "a.parquet", 300, block=100).path
    bits = np.random.default_rng(0).integers(0, 8 * footer_start(path), 200)
    assert damage_is_noticed(path, bits, everything) > 180


def test_every_byte_of_the_footer(tmp_path: Path) -> None:
    """Nothing parses a footer that is not the one that was written."""
    path = make_store(tmp_path / "a.parquet", 12, block=6).path
    before, start, size = everything(path), footer_start(path), path.stat().st_size
    bits = 8 * np.arange(start, size) + np.random.default_rng(0).integers(0, 8, size - start)
    unseen = []
    for bit in bits.tolist():
        with flipped(path, bit):
            try:
                assert not read_footer(path)[1]
                unseen.append(bit)
                assert everything(path) == before
            except DamagedError:
                continue
    assert len(unseen) == len(SEAL)  # the bytes of its name: there is no seal then


def test_training_reads_what_was_written_or_nothing(tmp_path: Path) -> None:
    path = make_store(tmp_path / "a.parquet", 12, block=6).path

    def read(file: Path) -> list[Any]:
        features, records = load_features([FeatureSpec(file)], Vocabulary(["i3", "i0", "i11"]))
        return [(m, f.matrix.tolist(), f.present.tolist()) for m, f in features.items()] + records

    bits = np.random.default_rng(4).integers(0, 8 * path.stat().st_size, 300)
    damage_is_noticed(path, bits, read)


def damaged(folder: Path, **options: Any) -> Store:
    """A store in which a number of i9's image is another one."""
    store = make_store(folder / "a.parquet", **options)
    (place,) = [f for f in store.files if b"i9" in f.read_bytes()]
    flip_number(place, rows_of([f"i{n}" for n in range(20)])["image"][9])
    return store


@pytest.mark.parametrize("max_file_rows", [None, 8])
def test_whoever_reads_the_vectors_says_so(tmp_path: Path, max_file_rows: int | None) -> None:
    store = damaged(tmp_path, max_file_rows=max_file_rows)
    out, other = tmp_path / "out.parquet", make_store(tmp_path / "b.parquet", 30).path
    for read in (
        store.verify,
        lambda: store.vectors("image", pa.array(["i9"])),
        lambda: list(store.batches()),
        lambda: unite([other, store.path], Target(out)),
        lambda: filter_store(store.path, Target(out), where="item_id = 'i9'"),
        lambda: export(store.path, "npy", out),
        lambda: diff(store.path, other),
    ):
        with pytest.raises(DamagedError, match=MENDS) as caught:
            read()
        assert str(caught.value).startswith(str(tmp_path / "a.parquet"))
    assert names(tmp_path) == ["a.parquet", "b.parquet"]
    assert store.vectors("text", pa.array(["i9"]))[1].all()  # which is as it was


def test_a_condition_over_damaged_texts(tmp_path: Path) -> None:
    """DuckDB, which compares no checksums, cannot unpack them: not the condition's fault."""
    path = make_store(tmp_path / "a.parquet", 300, block=300).path
    column = pq.read_metadata(path).row_group(0).column(7)
    assert column.path_in_schema == "content_hash"
    for byte in range(40, column.total_compressed_size, 40):
        flip(path, 8 * (column.data_page_offset + byte))
    with pytest.raises(DamagedError, match=MENDS):
        filter_store(path, Target(tmp_path / "b"), where="content_hash like '%7%'")


def test_a_store_elsewhere(tmp_path: Path) -> None:
    """Damage is not reported as a file out of reach."""
    import fsspec

    store = damaged(tmp_path)
    url = f"memory://{tmp_path.name}/a.parquet"
    fsspec.filesystem("memory").pipe_file(url, store.path.read_bytes())
    there = open_store(RemotePath(url))
    assert there.sealed
    with pytest.raises(DamagedError, match=f"^{url}{MENDS}"):
        there.verify()
    data = bytearray(store.path.read_bytes())
    data[-100] ^= 1
    fsspec.filesystem("memory").pipe_file(url, bytes(data))
    with pytest.raises(DamagedError, match=f"^{url}{MENDS}"):
        open_store(RemotePath(url))


def test_files_that_were_cut_off_or_are_something_else(tmp_path: Path) -> None:
    path = make_store(tmp_path / "a.parquet").path
    whole = path.read_bytes()
    for length in (0, 3, 4, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(StoreError, match=rf"a.parquet( is damaged|{' is not a Parquet file'})"):
            open_store(path)
    path.write_bytes(whole[:2000] + whole[2004:])  # in the middle
    with pytest.raises(DamagedError):
        open_store(path).verify()
    path.write_text("item_id,image\n" * 9)
    with pytest.raises(StoreError, match="is not a Parquet file; make a store"):
        open_store(path)


def test_a_store_that_another_tool_rewrote_is_read_like_an_old_one(tmp_path: Path) -> None:
    """pyarrow takes the card over, and not the seal."""
    store = make_store(tmp_path / "a.parquet")
    table = pq.read_table(store.path)
    pq.write_table(table.slice(0, 7), tmp_path / "b.parquet")
    again = open_store(tmp_path / "b.parquet")
    assert (store.sealed, again.sealed) == (True, False)
    assert rows(again) == rows(store)[:7]
    assert unite([again.path], Target(tmp_path / "c.parquet")) == 7
    assert open_store(tmp_path / "c.parquet").sealed


def test_the_same_rows_are_sealed_the_same(tmp_path: Path) -> None:
    one, two = make_store(tmp_path / "a.parquet"), make_store(tmp_path / "b.parquet")
    assert one.path.read_bytes() == two.path.read_bytes()
    assert read_footer(one.path)[1]


def test_parts_too(tmp_path: Path) -> None:
    schema = store_schema(CARD, "float32")
    columns = rows_of([f"i{n}" for n in range(6)])
    table = pa.table({name: columns[name] for name in schema.names}, schema=schema)
    with Parts(tmp_path / "a", CARD, "float32") as parts:
        for number in range(3):
            parts.write(number, table.slice(2 * number, 2))
        flip_number(parts.files()[1], columns["image"][2])
        with pytest.raises(DamagedError, match=r"part-000001.parquet .*; delete it and run the"):
            RowSource(parts.files(), schema).take(np.arange(6))
        assert parts.drop_damaged() == 1
        assert [path.name for path in parts.files()] == [
            "part-000000.parquet",
            "part-000002.parquet",
        ]
        (parts.directory / "job.json").write_text("{")
    with (
        pytest.raises(DamagedError, match=r"job.json is damaged"),
        Parts(tmp_path / "a", CARD, "float32"),
    ):
        pass
