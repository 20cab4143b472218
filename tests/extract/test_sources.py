"""Where pictures come from: folders, Parquet columns, tar shards. Same pictures, same vectors."""

from __future__ import annotations

import csv
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmx.cache.store import open_store
from mmx.data.dataset import load_interactions, load_items
from mmx.errors import DataError
from mmx.extract.encoders import open_encoder
from mmx.extract.options import ExtractOptions, ExtractReport
from mmx.extract.pipeline import extract
from mmx.extract.reasons import ImageError
from mmx.extract.sources import rows as table_rows
from mmx.extract.sources import source_for
from mmx.extract.sources.rows import LEAST, STEP, RowImages
from mmx.extract.sources.source import Source
from tests.catalogue import plain_catalogue

ITEMS = 23


def run(data: Path | str, out: Path, images: Path | None = None) -> ExtractReport:
    options = ExtractOptions(batch_size=4, part_size=10)
    return extract(load_items(data, images), open_encoder("toy"), out, options)


def content(path: Path) -> list[dict]:
    return pq.read_table(path).to_pylist()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain_catalogue(tmp_path_factory.mktemp("plain") / "d", ITEMS)


@pytest.fixture(scope="module")
def expected(plain: Path) -> list[dict]:
    run(plain, plain.parent / "expected.parquet")
    return content(plain.parent / "expected.parquet")


def pictures(plain: Path) -> list[bytes]:
    return [(plain / f"images/{n}.png").read_bytes() for n in range(ITEMS)]


# A table and a folder


def test_a_table_and_a_folder_of_pictures(
    plain: Path, expected: list[dict], tmp_path: Path
) -> None:
    rows = load_items(plain).table.to_pylist()
    with (tmp_path / "shop.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["item_id", "image", "text"])
        writer.writerows([r["item_id"], Path(r["image"]).name, r["text"]] for r in rows)
    run(tmp_path / "shop.csv", tmp_path / "out.parquet", plain / "images")
    assert content(tmp_path / "out.parquet") == expected


def test_without_a_column_image_files_are_found_by_item_id(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / "sub").mkdir(parents=True)
    for name in ("a.jpg", "b.PNG", "c.png", "c.webp", "sub/d.png", "e.txt", "other.png"):
        if name.endswith(".txt"):
            (photos / name).write_text("no picture")
        else:
            Image.new("RGB", (8, 8), (9, 9, 9)).save(photos / name)
    (tmp_path / "items.csv").write_text("item_id\na\nb\nc\nsub/d\ne\n../items\n")
    assert run(tmp_path, tmp_path / "out.parquet", photos).failures == {
        "image: file not found": 2,
        "image: several files": 1,
    }
    status = {row["item_id"]: row["image_status"] for row in content(tmp_path / "out.parquet")}
    assert [status[i] for i in ("a", "b", "sub/d")] == ["ok"] * 3
    assert load_items(tmp_path).table["image"].null_count == 6  # without --images: texts only


def test_interactions_lie_beside_the_table(tmp_path: Path) -> None:
    (tmp_path / "shop.csv").write_text("item_id,text\n7,seven\n")
    (tmp_path / "interactions.csv").write_text("user_id,item_id\nu,7\n")
    table = tmp_path / "shop.csv"
    assert load_interactions(table, load_items(table)).num_rows == 1


def test_mistakes_with_folders(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id\na\n")
    with pytest.raises(DataError, match=r"no folder at .*--images"):
        load_items(tmp_path, tmp_path / "nowhere")


# Bytes in a Parquet column


def embedded(plain: Path, path: Path, struct: bool, group: int = 7) -> Path:
    rows = load_items(plain).table
    data: list = pictures(plain)
    data[5] = None
    if struct:
        data = [{"bytes": d, "path": "images/5.png" if d is None else None} for d in data]
    table = pa.table({"item_id": rows["item_id"], "text": rows["text"], "image": data})
    pq.write_table(table, path, row_group_size=group)
    return path


@pytest.mark.parametrize("struct", [False, True])
def test_bytes_in_a_parquet_column(
    plain: Path, expected: list[dict], tmp_path: Path, struct: bool
) -> None:
    embedded(plain, tmp_path / "items.parquet", struct)
    if struct:  # a path in place of absent bytes
        (tmp_path / "images").symlink_to(plain / "images")
    report = run(tmp_path, tmp_path / "out.parquet")
    assert report.failures == {}
    found = content(tmp_path / "out.parquet")
    if not struct:
        assert found[5]["image"] is None
        assert found[5]["image_status"] == "missing"
        found[5] = expected[5]
    assert found == expected
    assert run(tmp_path, tmp_path / "out.parquet").reused == ITEMS


def test_rows_in_any_order_from_many_threads(plain: Path, tmp_path: Path) -> None:
    path = embedded(plain, tmp_path / "items.parquet", struct=False, group=9)
    source = pickle.loads(pickle.dumps(source_for(load_items(path))))
    wanted = pictures(plain)
    order = [n for n in np.random.default_rng(0).permutation(ITEMS).tolist() if n != 5] * 3
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: source(f"#{n}"), order))
    assert found == [wanted[n] for n in order]
    with pytest.raises(ImageError, match="row unreadable"):
        source("#400")
    assert source("#0") == wanted[0]


def test_one_large_row_group_is_never_in_memory(tmp_path: Path) -> None:
    blob = np.random.default_rng(0).bytes(1 << 20)
    rows = 160  # of a mebibyte each, one row group
    table = pa.table({"item_id": [str(n) for n in range(rows)], "image": [blob] * rows})
    options = {"use_dictionary": False, "compression": "none", "write_batch_size": 4}  # a page
    pq.write_table(table, tmp_path / "items.parquet", row_group_size=rows, **options)
    del table
    source, before, peak = RowImages(tmp_path / "items.parquet"), pa.total_allocated_bytes(), 0
    for n in range(rows):
        assert len(source(f"#{n}")) == 1 << 20
        peak = max(peak, pa.total_allocated_bytes() - before)
        assert len(source._window) <= LEAST + STEP
    assert peak < 48 << 20  # of 160


def test_the_window_is_bounded_and_its_bytes_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In whatever order rows are read, and where they have no pictures."""
    random = np.random.default_rng(1)
    blobs = [None if n % 3 else random.bytes(n) for n in range(1200)]
    ids = [str(n) for n in range(1200)]
    pq.write_table(pa.table({"item_id": ids, "image": blobs}), tmp_path / "items.parquet",
                   row_group_size=500)  # fmt: skip
    monkeypatch.setattr(table_rows, "WINDOW", 150 * table_rows.OBJECTS)
    source = RowImages(tmp_path / "items.parquet")
    for n in [*range(1200), *random.integers(0, 1200, 50).tolist()]:
        assert source.picture(f"#{n}")[0] == blobs[n]
        assert len(source._window) <= 150 + STEP
        assert source._bytes == sum(map(table_rows._size, source._window.values()))


def test_a_source_that_knows_its_pictures_is_not_read_for_their_hash(
    plain: Path, tmp_path: Path
) -> None:
    class Costly(Source):
        """Counts what it reads; a picture is its name."""

        def __init__(self) -> None:
            self.read, self.lock = 0, threading.Lock()

        def identity(self, image: str) -> bytes:
            return image.encode()

        def __call__(self, image: str, /) -> bytes:
            with self.lock:
                self.read += 1
            return (plain / image).read_bytes()

    source, out, options = Costly(), tmp_path / "out.parquet", ExtractOptions(batch_size=4)
    for _ in range(2):
        report = extract(load_items(plain), open_encoder("toy"), out, options, source=source)
    assert report.reused == source.read == ITEMS
    assert open_store(out).status_counts()["image"] == {"ok": ITEMS}
