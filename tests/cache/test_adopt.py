"""Vectors that other tools wrote, of which less is known, become a store that says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from mmx.cache.adopt import Adoption, adopt
from mmx.cache.store import open_store
from mmx.cache.tools import Target
from mmx.errors import DataError, MmxError, StoreError
from tests.cache.stores import names, rows

VECTORS = np.arange(12, dtype=np.float32).reshape(4, 3) - 5


def test_mmrec_files_become_a_store(tmp_path: Path) -> None:
    """float64, a map in any order, pictures listed as missed, and zeros, which are vectors."""
    folder = tmp_path / "baby"
    folder.mkdir()
    image, text = VECTORS.astype(np.float64), np.ones((4, 2), np.float32)
    text[2], image[3] = 0, np.nan
    np.save(folder / "image_feat.npy", image)
    np.save(folder / "text_feat.npy", text)
    (folder / "i_id_mapping.csv").write_text("asin\titemID\nB02\t2\n0001\t0\nB03\t3\nB01\t1\n")
    (folder / "missed_img_itemIDs.csv").write_text("1\n")
    how = Adoption("mmrec", encoder="CNN and sentence transformer")
    assert adopt(folder, how, Target(tmp_path / "a")) == (4, {"image": 2, "text": 0})
    store = open_store(tmp_path / "a")
    found = rows(store)
    assert [row["item_id"] for row in found] == ["0001", "B01", "B02", "B03"]
    assert [row["image"] for row in found] == [[-5, -4, -3], None, [1, 2, 3], None]
    assert [row["image_status"] for row in found] == ["ok", "missing", "ok", "missing"]
    assert found[2]["text"] == [0, 0]
    assert (store.dtype, store.card.weights, store.card.normalised) == ("float32", "unknown", False)
    assert store.verify() == ["1 text vectors are zero"]
    again = replace(how, zero_missing=True)
    assert adopt(folder, again, Target(tmp_path / "b"))[1] == {"image": 2, "text": 1}
    assert open_store(tmp_path / "b").verify() == []


def test_names_keep_unknown_encoders_apart(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    np.save(folder / "image.npy", VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True))
    (folder / "ids.txt").write_text("a\nb\r\nc d\né\n", encoding="utf-8")
    for name in "pq":
        adopt(folder, Adoption("npy", encoder=name), Target(tmp_path / name))
    p, q = (open_store(tmp_path / name) for name in "pq")
    assert p.card.differences(q.card) == ["architecture"]
    assert p.card.normalised
    assert p.versions == {}
    assert [row["item_id"] for row in rows(p)] == ["a", "b", "c d", "é"]


def test_embedding_folders_become_a_store(tmp_path: Path) -> None:
    """Half precision, numbers without leading zeros, ids in a column of another name."""
    for name in ("img_emb", "metadata"):
        (tmp_path / "x" / name).mkdir(parents=True)
    for number in range(11):
        values = np.full((2, 3), number, np.float16)
        np.save(tmp_path / f"x/img_emb/img_emb_{number}.npy", values)
        paths = [f"p/{number}-{n}.jpg" for n in range(2)]
        table = pa.table({"image_path": paths, "caption": ["x", "y"]})
        pq.write_table(table, tmp_path / f"x/metadata/metadata_{number}.parquet")
    with pytest.raises(StoreError, match=r"no column item_id; --ids .*: image_path, caption"):
        adopt(tmp_path / "x", Adoption("embeddings", "clip"), Target(tmp_path / "a"))
    how = Adoption("embeddings", "clip", "image_path")
    assert adopt(tmp_path / "x", how, Target(tmp_path / "a", max_file_rows=9))[0] == 22
    store = open_store(tmp_path / "a")
    assert (store.dtype, len(store.files)) == ("float16", 3)
    found = {row["item_id"]: row["image"] for row in rows(store)}
    assert found == {f"p/{k}-{n}.jpg": [k] * 3 for k in range(11) for n in range(2)}
    (tmp_path / "x/img_emb/img_emb_10.npy").unlink()
    with pytest.raises(StoreError, match="11 in metadata, 10 in img_emb"):
        adopt(tmp_path / "x", how, Target(tmp_path / "b"))


def test_bfloat16_tensors_become_a_store(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    tensor = torch.tensor([[1.5, -2.25], [1e-30, 3e38]]).bfloat16()
    save_file({"text": tensor, "other": torch.ones(3, dtype=torch.int64)}, folder / "v.safetensors")
    pq.write_table(pa.table({"item_id": [7, 8]}), folder / "ids.parquet")
    adopt(folder, Adoption("safetensors", "sbert"), Target(tmp_path / "a"))
    found = rows(open_store(tmp_path / "a"))
    assert [row["text"] for row in found] == tensor.float().tolist()
    assert [row["item_id"] for row in found] == ["7", "8"]


def test_fused_vectors_alone(tmp_path: Path) -> None:
    """Whether their picture and text were there is not known."""
    folder = tmp_path / "x"
    folder.mkdir()
    np.save(folder / "fused.npy", VECTORS)
    (folder / "ids.csv").write_text("item_id,x\n01,1\n1,2\n002,3\n2,4\n")
    adopt(folder, Adoption("npy", "blip"), Target(tmp_path / "a"))
    store = open_store(tmp_path / "a")
    assert [row["item_id"] for row in rows(store)] == ["01", "1", "002", "2"]
    assert store.status_counts()["image"] == {"unknown": 4}
    assert store.status_counts()["fused"] == {"ok": 4}


def write(folder: Path, vectors: np.ndarray, ids: str = "a\nb\nc\nd\n") -> None:
    np.save(folder / "image.npy", vectors)
    (folder / "ids.txt").write_text(ids)


HALF = VECTORS.copy()
HALF[2, 1] = np.nan


@pytest.mark.parametrize(
    ("spoil", "error", "said"),
    [
        (lambda f: write(f, VECTORS, "a\nb\nc\n"), StoreError, "4 rows for 3 ids"),
        (lambda f: write(f, VECTORS, "a\nb\na\nc\n"), StoreError, r"1 ids occur more .*\(a\)"),
        (lambda f: write(f, VECTORS, "a\n\nb\nc\n"), DataError, "empty item_id"),
        (lambda f: write(f, HALF), StoreError, "row 2 has numbers that are not finite"),
        (lambda f: write(f, VECTORS.astype(float) * 1e300), StoreError, "not finite"),
        (lambda f: write(f, np.asfortranarray(VECTORS)), StoreError, "Fortran order"),
        (lambda f: write(f, VECTORS.astype(int)), StoreError, "int64 of shape"),
        (lambda f: write(f, VECTORS[0]), StoreError, "a matrix of floats is expected"),
        (lambda f: (f / "ids.txt").unlink(), StoreError, "no ids.parquet, ids.csv or ids.txt"),
        (lambda f: (f / "image.npy").unlink(), StoreError, "no vectors in the layout npy"),
        (lambda f: cut(f / "image.npy", 10), StoreError, "cut off: 176 bytes are expected"),
        (lambda f: cut(f / "image.npy", 100), StoreError, "not a readable .npy"),
    ],
)
def test_what_does_not_belong_together(
    tmp_path: Path, spoil: object, error: type[MmxError], said: str
) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    write(folder, VECTORS)
    assert callable(spoil)
    spoil(folder)
    with pytest.raises(error, match=said):
        adopt(folder, Adoption("npy", "e"), Target(tmp_path / "a"))
    assert names(tmp_path) == ["x"]


def cut(path: Path, count: int) -> None:
    path.write_bytes(path.read_bytes()[:-count])
