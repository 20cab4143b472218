"""Vectors from the pages themselves are those that Arrow reads, and damage is noticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmx.cache import pages
from mmx.cache.seal import read_footer
from mmx.cache.store import open_store
from mmx.errors import DamagedError
from mmx.search.vectors import Vectors, load_vectors, widen
from tests.cache.stores import make_store


def gappy(gaps: str, d: int = 5) -> list[list[float] | None]:
    rng = np.random.default_rng(0)
    return [None if c == "." else rng.normal(size=d).tolist() for c in gaps]


def by_arrow(store: object, modality: str) -> Vectors:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "KINDS", {})
        return load_vectors(store, modality)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize(
    "gaps", ["#" * 40, "." * 40, "#." * 20, ".." + "#" * 30 + "...#", "." * 30 + "#" * 9 + "."]
)
def test_the_same_as_by_arrow(
    tmp_path: Path, gaps: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a vector is spread over two pages."""
    real = pq.ParquetWriter
    monkeypatch.setattr(
        pq, "ParquetWriter",
        lambda *a, **o: real(*a, **o, data_page_size=24, write_batch_size=3),
    )  # fmt: skip
    values = gappy(gaps, 3)
    status = ["ok" if v else "gone" for v in values]
    store = make_store(tmp_path / "s.parquet", len(gaps), image=values, image_status=status,
                       block=16, dtype=dtype)  # fmt: skip
    called: list[int] = []
    whole = pages.read_vectors
    monkeypatch.setattr(
        "mmx.search.vectors.read_vectors", lambda *a: (called.append(a[2]), whole(*a))[1]
    )
    fast, slow = load_vectors(store, "image"), by_arrow(store, "image")
    assert called[:3] == [0, 1, 2]
    assert fast.ids == slow.ids
    assert len(fast) == gaps.count("#")
    np.testing.assert_array_equal(fast.matrix, slow.matrix)
    np.testing.assert_array_equal(fast.scale, slow.scale)
    expected = np.array([v for v in values if v], dtype).astype(np.float32).reshape(-1, 3)
    np.testing.assert_array_equal(fast.matrix, expected)


def test_every_half_is_widened_as_it_is() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    for numbers in (every, every[5:], every[:70], np.concatenate([every, every[:3]])):
        found = np.full(len(numbers) + 1, 7, np.float32)
        widen(numbers, found[:-1])
        np.testing.assert_array_equal(found[:-1], numbers.astype(np.float32))
        assert found[-1] == 7


def test_another_layout_is_read_by_arrow(tmp_path: Path) -> None:
    """Compressed, by dictionary, pages of version 2, lists of any length: all from other tools."""
    store = make_store(tmp_path / "s.parquet", 20)
    table = pq.read_table(store.path)
    expected = load_vectors(store, "image")
    for number, options in enumerate([
        {"compression": "zstd"}, {"use_dictionary": True}, {"data_page_version": "2.0"},
        {"write_page_checksum": False}, {"use_byte_stream_split": ["image.list.element"],
        "use_dictionary": False},
    ]):  # fmt: skip
        path = tmp_path / f"{number}.parquet"
        given = {"write_page_checksum": True, "compression": "none", "use_dictionary": False}
        pq.write_table(table, path, **{**given, **options})
        with path.open("rb") as source, pytest.raises(pages.Unusual):
            pages.read_vectors(source, read_footer(path)[0], 0, "image", 3)
    pq.write_table(table, store.path, compression="none", use_dictionary=False,
                   write_page_checksum=True)  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:  # pages that nothing confirms are Arrow's to check
        patch.setattr("mmx.search.vectors.read_vectors", None)
        assert load_vectors(open_store(store.path), "image").ids == expected.ids
    loose = table.set_column(1, "image", table["image"].cast(pa.list_(pa.float64())))
    pq.write_table(loose, store.path)
    found = load_vectors(store, "image")
    assert found.ids == expected.ids
    np.testing.assert_array_equal(found.matrix, expected.matrix)


def test_every_flipped_byte_is_noticed(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.parquet", 6)
    expected = load_vectors(store, "image").matrix.copy()
    chunk = read_footer(store.path)[0].row_group(0).column(1)
    content = store.path.read_bytes()
    for place in range(
        chunk.data_page_offset, chunk.data_page_offset + chunk.total_compressed_size
    ):
        store.path.write_bytes(
            content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :]
        )
        try:
            found = load_vectors(store, "image").matrix
        except DamagedError:
            continue
        np.testing.assert_array_equal(found, expected)  # a bit of the header that counts nothing
