"""``mmx.open_store``: what its methods return, and what shares memory."""

from __future__ import annotations

import gc
from pathlib import Path

import duckdb
import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mmx
from mmx.cache.card import EncoderCard
from mmx.cache.schema import metadata
from mmx.errors import DamagedError, OptionError, StoreError
from tests.cache.small_store import IMAGE, store

MATRIX = np.array([row or [0, 0, 0] for row in IMAGE])


@pytest.fixture(params=["float32", "float16"])
def opened(tmp_path: Path, request: pytest.FixtureRequest) -> mmx.OpenStore:
    return mmx.open_store(store(tmp_path / "s.parquet", dtype=request.param))


def test_facts_are_known_without_reading(opened: mmx.OpenStore) -> None:
    assert isinstance(opened, mmx.Store)
    with opened as same:
        assert same is opened
    assert (opened.model, opened.modalities, opened.rows) == ("fake", ("image", "text"), 3)
    assert opened.dimensions == {"image": 3, "text": 2}
    assert opened.status_counts()["image"] == {"ok": 2, "file not found": 1}
    assert opened.ids.to_pylist() == ["a", "b", "c"]


def test_arrow_numpy_and_torch_have_one_matrix_in_one_memory(
    opened: mmx.OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = opened.arrow()
    assert table.equals(pq.read_table(opened.path))
    assert opened.arrow("text").column_names == ["text"]
    assert opened.arrow(["text", "item_id"]).column_names == ["text", "item_id"]
    monkeypatch.setattr("mmx.cache.arrays._groups", lambda *_: [table])
    matrix, present = opened.numpy("image")
    values = table["image"].chunk(0).values.buffers()[1]
    assert matrix.ctypes.data == values.address
    assert (matrix.dtype, present.tolist()) == (opened.dtype, [True, False, True])
    np.testing.assert_array_equal(matrix, MATRIX)
    tensor, there = opened.torch("image")
    assert tensor.data_ptr() == values.address
    assert there.tolist() == present.tolist()
    np.testing.assert_array_equal(tensor.numpy(), MATRIX)


def test_the_memory_lives_as_long_as_what_is_in_it(opened: mmx.OpenStore) -> None:
    tensor, (matrix, _) = opened.torch("image")[0], opened.numpy("image")
    gc.collect()
    pa.default_memory_pool().release_unused()
    np.testing.assert_array_equal(matrix, MATRIX)
    np.testing.assert_array_equal(tensor.numpy(), MATRIX)


def _rewritten(path: Path, table: pa.Table, **options: int) -> mmx.OpenStore:
    pq.write_table(table, path, **options)
    return mmx.open_store(path)


@pytest.mark.parametrize("kind", ["groups", "lists", "large", "double", "none", "empty"])
def test_what_cannot_be_shared_is_copied(tmp_path: Path, kind: str) -> None:
    whole = pq.read_table(store(tmp_path / "s.parquet"))
    types = {"lists": pa.list_(pa.float32()), "large": pa.large_list(pa.float32()),
             "double": pa.list_(pa.float64(), 3)}  # fmt: skip
    expected = MATRIX
    if kind in types:
        whole = whole.set_column(1, "image", whole["image"].cast(types[kind]))
    if kind in ("none", "empty"):
        rows = int(kind == "none")
        whole, expected = whole.slice(1, rows), np.zeros((rows, 3))
    rewritten = _rewritten(
        tmp_path / "r.parquet", whole, row_group_size=2 if kind == "groups" else 9
    )
    matrix, present = rewritten.numpy("image")
    assert (matrix.dtype, matrix.shape) == (np.float32, expected.shape)
    np.testing.assert_array_equal(matrix, expected)
    np.testing.assert_array_equal(present, expected.any(1))
    assert rewritten.torch("image")[0].shape == expected.shape
    assert rewritten.arrow().num_rows == len(rewritten.ids) == len(expected)


def test_a_gap_is_zero_whatever_arrow_has_there(
    opened: mmx.OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = opened.arrow(["image"])
    values = pa.array(np.arange(9, dtype=opened.dtype))
    dirty = pa.FixedSizeListArray.from_arrays(values, 3, mask=pa.array([False, True, False]))
    sliced = pa.table({"image": pa.concat_arrays([dirty, dirty])[2:5]})
    for made, rows in ((pa.table({"image": dirty}), [0, 0, 2]), (sliced, [2, 0, 0])):
        monkeypatch.setattr("mmx.cache.arrays._groups", lambda *_, made=made: [made])
        matrix, present = opened.numpy("image")
        expected = [np.arange(3 * row, 3 * row + 3) for row in rows]
        np.testing.assert_array_equal(matrix[present], np.array(expected)[present])
        assert not matrix[~present].any()
        assert (~present).sum() == 1
    assert table.num_rows == 3


def test_a_part_of_an_array_is_shared_from_where_it_starts(
    opened: mmx.OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = pa.array(np.arange(15, dtype=opened.dtype))
    part = pa.table({"image": pa.FixedSizeListArray.from_arrays(values, 3)[2:]})
    monkeypatch.setattr("mmx.cache.arrays._groups", lambda *_: [part])
    matrix = opened.numpy("image")[0]
    np.testing.assert_array_equal(matrix, np.arange(6, 15).reshape(3, 3))
    assert matrix.ctypes.data == values.buffers()[1].address + 6 * values.type.bit_width // 8


def test_a_remote_store_is_read_by_duckdb_too(opened: mmx.OpenStore) -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe("/opened/far.parquet", Path(str(opened.path)).read_bytes())
    far = mmx.open_store("memory://opened/far.parquet")
    assert far.relation().count("*").fetchall() == [(3,)]
    assert far.numpy("image")[0].shape == (3, 3)


def test_duckdb_pandas_and_polars(opened: mmx.OpenStore) -> None:
    relation = opened.relation()
    gc.collect()
    assert relation.filter("image is not null").count("*").fetchall() == [(2,)]
    assert str(relation.types[1]) == "FLOAT[3]"
    with duckdb.connect() as connection:
        same = opened.relation(connection)
        assert same.aggregate("max(item_id)").fetchall() == [("c",)]
    frame = opened.pandas()
    assert frame["image"][1] is None
    assert frame["image"][0].base is not None  # a view
    np.testing.assert_array_equal(frame["image"][2], MATRIX[2])
    import polars as pl

    polars = opened.polars(["item_id", "image"])
    assert polars.schema["image"] == pl.Array(getattr(pl, opened.dtype.capitalize()), 3)
    assert polars["image"].to_list() == [None if row is None else row for row in IMAGE]


def test_polars_shares_the_memory(opened: mmx.OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    table = opened.arrow(["image"])
    monkeypatch.setattr("mmx.opened.table_of", lambda *_: table)
    back = opened.polars()["image"].to_arrow()
    assert back.values.buffers()[1].address == table["image"].chunk(0).values.buffers()[1].address


def test_mistakes_are_one_line(opened: mmx.OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match=r"modality is not given, and .* has image, text"):
        opened.numpy()
    with pytest.raises(StoreError, match="has no audio vectors; it has image, text"):
        opened.torch("audio")
    with pytest.raises(OptionError, match="modality is a int; text is expected"):
        opened.numpy(3)  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="has no column imag; did you mean 'image'"):
        opened.arrow(["imag"])
    with pytest.raises(OptionError, match="columns is a int"):
        opened.pandas(3)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="connection is a str"):
        opened.relation("x.db")  # type: ignore[arg-type]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for missing in ("pandas", "polars"):
        with pytest.raises(OptionError, match=f"{missing} is not installed; pip install {missing}"):
            getattr(opened, missing)()


def test_damage_is_noticed(opened: mmx.OpenStore) -> None:
    data = bytearray(Path(str(opened.path)).read_bytes())
    column = pq.ParquetFile(opened.path).metadata.row_group(0).column(1)
    data[column.data_page_offset + column.total_compressed_size - 2] ^= 1
    Path(str(opened.path)).write_bytes(bytes(data))
    for read in (opened.arrow, lambda: opened.numpy("image"), lambda: opened.torch("image")):
        with pytest.raises(DamagedError):
            read()


def test_one_modality_needs_no_name(tmp_path: Path) -> None:
    whole = pq.read_table(store(tmp_path / "s.parquet")).drop_columns(["image", "image_status"])
    card = EncoderCard("fake", "mmx", "fake", "none", {"text": 2}, False, "float32")
    whole = whole.replace_schema_metadata(metadata(card, "float32", "f"))
    assert _rewritten(tmp_path / "r.parquet", whole).numpy()[0].shape == (3, 2)


class Asked:
    """In the place of an encoder."""

    def text(self, words: str) -> np.ndarray:
        return np.array([1.0, 0.1]) if words == "first" else np.array([0.1, 1.0])

    def image(self, path: Path) -> np.ndarray:
        return np.array(IMAGE[2])


def test_it_is_searched_by_words_pictures_and_vectors(
    opened: mmx.OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    opens: list[tuple[str, dict[str, object]]] = []

    def opening(store: mmx.Store, asked: str, **options: object) -> Asked:
        opens.append((asked, options))
        return Asked()

    monkeypatch.setattr("mmx.opened.open_for_query", opening)
    assert opened.search("first", 1)["item_id"].to_pylist() == ["a"]  # its space is not joint
    assert opened.search("second")["item_id"].to_pylist() == ["b", "a"]
    assert opened.search(Path("c.jpg"), 1, fetch=True)["item_id"].to_pylist() == ["c"]
    assert opens == [("text", {}), ("image", {"fetch": True})]  # each is opened once
    by_vector = opened.search(np.array([0.0, 1.0]), modality="text", among=["a"])
    assert by_vector["item_id"].to_pylist() == ["a"]
    assert opened.similar("a")["similar_id"].to_pylist() == ["c"]
    assert opened.similar("a", modality="text")["similar_id"].to_pylist() == ["b"]
    assert opened.searcher() is opened.searcher("image")
    with pytest.raises(OptionError, match="modality"):
        opened.search("first", modality="image")
