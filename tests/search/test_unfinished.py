"""Lists of all items that were interrupted are continued, and are those of an undisturbed job."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from mmx.errors import TargetError
from mmx.search import searcher as module
from mmx.search.searcher import LISTS, Searcher
from mmx.search.unfinished import KeptLists
from tests.cache.stores import make_store, names

ITEMS = 40


@pytest.fixture
def searcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Searcher:
    """Some items have no vector; six blocks."""
    monkeypatch.setattr(module, "BLOCK", 6)
    make_store(tmp_path / "s.parquet", ITEMS)
    return module.open_searcher(tmp_path / "s.parquet")


def parts_of(
    searcher: Searcher, out: Path, k: int = 3, among: list[str] | None = None
) -> KeptLists:
    return KeptLists.of(out, searcher, k, among, None)


def made(searcher: Searcher, keep: Callable, k: int = 3) -> tuple[pa.Table, list[tuple[int, int]]]:
    done: list[tuple[int, int]] = []
    tables = searcher.similar_all(k, keep=keep, progress=lambda *at: done.append(at))
    return pa.concat_tables(tables), done


def test_it_continues_after_the_last_part(searcher: Searcher, tmp_path: Path) -> None:
    out, asked = tmp_path / "similar.parquet", []
    whole, done = made(searcher, lambda number, make: make())
    assert done[-1] == (len(searcher), len(searcher))

    def until(number: int, make: Callable) -> pa.Table:
        asked.append(number)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return parts_of(searcher, out).keep(number, make)

    with pytest.raises(KeyboardInterrupt):
        made(searcher, until)
    (folder,) = {*tmp_path.iterdir()} - {tmp_path / "s.parquet"}
    assert folder.name.startswith(".similar.parquet.")
    assert names(folder) == ["000000.part", "000001.part", "000002.part"]
    again: list[int] = []

    def noted(number: int, make: Callable) -> pa.Table:
        return parts_of(searcher, out).keep(number, lambda: (again.append(number), make())[1])

    found, progress = made(searcher, noted)
    assert again == [3, 4, 5]
    assert progress == done
    assert found.equals(whole)
    assert found.schema.equals(LISTS)
    parts_of(searcher, tmp_path / "other.parquet").forget()
    assert folder.exists()
    parts_of(searcher, out, k=9).forget()  # of whatever job has this output
    assert names(tmp_path) == ["s.parquet"]


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped"])
def test_a_damaged_part_is_made_again(searcher: Searcher, tmp_path: Path, damage: str) -> None:
    parts = parts_of(searcher, tmp_path / "similar.parquet")
    whole = made(searcher, parts.keep)[0]
    path = parts.folder / "000002.part"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 4] ^= 8
    path.write_bytes({"cut": raw[:-9], "empty": b""}.get(damage, raw))
    again: list[int] = []
    found = made(searcher, lambda n, make: parts.keep(n, lambda: (again.append(n), make())[1]))[0]
    assert again == [2]
    assert found.equals(whole)
    parts.keep(2, lambda: pytest.fail("made again"))


def test_another_job_has_parts_of_its_own(searcher: Searcher, tmp_path: Path) -> None:
    out = tmp_path / "similar.parquet"
    same = parts_of(searcher, out)
    assert parts_of(module.open_searcher(tmp_path / "s.parquet"), out) == same
    make_store(tmp_path / "other.parquet", ITEMS, seed=1)
    others = [
        parts_of(searcher, out, k=4),
        parts_of(searcher, out, among=["i0", "i2"]),
        parts_of(searcher, out, among=["i0", "i3"]),
        parts_of(module.open_searcher(tmp_path / "s.parquet", "text"), out),
        parts_of(module.open_searcher(tmp_path / "other.parquet"), out),
        KeptLists.of(out, searcher, 3, None, "hnsw"),
    ]
    assert len({parts.folder for parts in [same, *others]}) == 7


def test_a_part_that_cannot_be_written_is_one_line(searcher: Searcher, tmp_path: Path) -> None:
    parts = parts_of(searcher, tmp_path / "similar.parquet")
    parts.folder.write_bytes(b"")
    with pytest.raises(TargetError, match=r"cannot write .*000000\.part.*--out elsewhere"):
        made(searcher, parts.keep)


def test_a_huge_k_makes_tables_of_many_items(searcher: Searcher) -> None:
    assert searcher.step(10**30) == searcher.step(1) == 6
