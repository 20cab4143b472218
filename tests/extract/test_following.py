"""A store follows the items table, also where no vector changes: order, marks, statuses."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mmx.cache import schema
from mmx.cache.seal import read_footer
from mmx.cache.store import Store, open_store
from mmx.cache.tools import Target, unite
from mmx.data.dataset import load_items
from mmx.extract.options import ExtractOptions, ExtractReport
from mmx.extract.pipeline import extract
from mmx.files import as_place
from tests.catalogue import plain_catalogue, write_items
from tests.cli.conftest import Shop
from tests.extract.counting import Counting, run

ITEMS = 23


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return plain_catalogue(tmp_path / "d", ITEMS)


def rewritten(data: Path, change: Any) -> list[str]:
    """Write the items table again; its ids."""
    rows = change(load_items(data).table.select(["item_id", "image", "text"]).to_pylist())
    write_items(data, rows)
    return [row["item_id"] for row in rows]


def shuffled(rows: list[dict]) -> list[dict]:
    return [*rows[7:], *reversed(rows[:7])]


def run_again(data: Path, out: Path, **options: object) -> ExtractReport:
    """Run into a store that has all vectors: nothing is encoded."""
    encoder = Counting()
    report = run(data, out, encoder, **options)
    assert (encoder.images, encoder.texts, report.encoded) == (0, 0, 0)
    return report


def stamp(store: Store) -> list[tuple[str, int, int]]:
    facts = [(str(file), os.stat(str(file))) for file in store.files]
    return [(name, fact.st_ino, fact.st_mtime_ns) for name, fact in facts]


def test_a_table_in_another_order(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "toy.parquet"
    run(data, out)
    ids = rewritten(data, shuffled)
    run_again(data, out)
    assert pq.read_table(out)["item_id"].to_pylist() == ids
    run(data, tmp_path / "fresh.parquet")
    assert out.read_bytes() == (tmp_path / "fresh.parquet").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d", "fresh.parquet", "toy.parquet"]


def test_the_same_table_leaves_the_file_alone(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "toy.parquet"
    run(data, out)
    before = stamp(open_store(out))
    for options in ({}, {"part_size": 5}, {"retry_failed": True}):
        run_again(data, out, **options)
        assert stamp(open_store(out)) == before
    table = load_items(data).table
    write_items(data, table.to_pylist(), price=list(range(ITEMS)))  # nothing an encoder sees
    run_again(data, out)
    assert stamp(open_store(out)) == before


def test_a_folder_of_files_in_another_order(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "toy.parquet"
    run(data, out, max_file_rows=8, part_size=4)
    before = stamp(open_store(out))
    run_again(data, out)
    assert stamp(open_store(out)) == before
    ids = rewritten(data, shuffled)
    run_again(data, out, max_file_rows=8, part_size=4)
    store = open_store(out)
    assert store.file_rows == (8, 8, 7)
    assert store.verify() == []
    assert [i for batch in store.batches() for i in batch["item_id"].to_pylist()] == ids
    run(data, tmp_path / "fresh.parquet", max_file_rows=8, part_size=4)
    for file, fresh in zip(store.files, open_store(tmp_path / "fresh.parquet").files, strict=True):
        assert file.read_bytes() == fresh.read_bytes()


def test_pictures_under_other_names(data: Path, tmp_path: Path) -> None:
    """No vector changes, but the table is another one, and the store says of which it is."""
    out = tmp_path / "toy.parquet"
    run(data, out)
    (data / "images").rename(data / "photos")
    rewritten(
        data, lambda rows: [{**r, "image": r["image"].replace("images", "photos")} for r in rows]
    )
    vectors = pq.read_table(out)
    run_again(data, out)
    assert open_store(out).items_fingerprint == load_items(data).fingerprint()
    assert pq.read_table(out).equals(vectors)


def test_a_store_of_no_table_becomes_the_tables(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "a.parquet")
    unite([tmp_path / "a.parquet"], Target(tmp_path / "b.parquet"))
    run_again(data, tmp_path / "b.parquet")
    assert open_store(tmp_path / "b.parquet").items_fingerprint == load_items(data).fingerprint()


def test_what_is_only_moved_keeps_the_versions_it_was_made_with(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "toy.parquet"
    run(data, out, part_size=6)
    made_with = open_store(out).versions
    monkeypatch.setattr(schema, "library_versions", lambda: {"numpy": "99"})
    rewritten(data, shuffled)
    run_again(data, out, part_size=None)
    rewritten(data, lambda rows: rows[:-2])
    run_again(data, out, part_size=None, prune=True)
    assert open_store(out).versions == made_with
    assert read_footer(out)[0].row_group(0).num_rows == 6
    write_items(data, [{"item_id": "new", "text": "new"}])
    run(data, tmp_path / "new.parquet")
    assert open_store(tmp_path / "new.parquet").versions == {"numpy": "99"}


def test_a_store_elsewhere(data: Path, tmp_path: Path) -> None:
    out, work = "memory://following/toy.parquet", tmp_path / "work"
    options = ExtractOptions(batch_size=4, part_size=10)
    extract(load_items(data), Counting(), out, options, work=work)
    first = as_place(out).version()  # type: ignore[union-attr]
    extract(load_items(data), Counting(), out, options, work=work)
    assert as_place(out).version() == first  # type: ignore[union-attr]
    ids = rewritten(data, shuffled)
    encoder = Counting()
    extract(load_items(data), encoder, out, options, work=work)
    assert encoder.images == 0
    assert [i for b in open_store(out).batches() for i in b["item_id"].to_pylist()] == ids


def test_a_picture_that_is_lost_or_named_no_more(data: Path, tmp_path: Path) -> None:
    """Neither has bytes, so the hash is the same; the status differs."""
    out = tmp_path / "toy.parquet"
    run(data, out)

    def third(image: str | None) -> Any:
        return lambda rows: [{**r, "image": image} if n == 2 else r for n, r in enumerate(rows)]

    steps = [(None, "missing"), ("images/none.png", "file not found"), ("  ", "missing"),
             ("images", "a directory, not a file"), ("images/2.png", "ok")]  # fmt: skip
    for image, status in steps:
        rewritten(data, third(image))
        assert run(data, out).encoded == 1
        row = pq.read_table(out).slice(2, 1).to_pylist()[0]
        assert (row["image_status"], row["image"] is None) == (status, status != "ok")
        run_again(data, out)


def test_the_command_follows_the_table(tmp_path: Path) -> None:
    mine = Shop(tmp_path)
    data = plain_catalogue(tmp_path / "data", 6)
    mine.mmx("extract", "--model", "toy", "--data", "data")
    ids = rewritten(data, lambda rows: rows[::-1])
    done = mine.json("extract", "--model", "toy", "--data", "data")
    assert (done["encoded"], done["reused"], done["batch_size"]) == (0, 6, None)
    found = mine.json("sql", "select item_id from toy")
    assert [row["item_id"] for row in found] == ids
