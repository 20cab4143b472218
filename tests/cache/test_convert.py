"""To the files of other tools and back, bit for bit."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from mmx.cache import adopt as adopting
from mmx.cache import export as exporting
from mmx.cache.adopt import Adoption, adopt
from mmx.cache.diff import diff
from mmx.cache.export import LAYOUTS, export
from mmx.cache.store import Store, open_store
from mmx.cache.tools import Target
from mmx.errors import OptionError, StoreError, TargetError
from tests.cache.stores import CARD, make_store, names, rows


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_there_and_back_is_the_same_store(
    tmp_path: Path, layout: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vectors, statuses, hashes, tokens, card and fingerprint; in one file and in several."""
    ids = ["007", "a b", 'quoted "x"', "tab\tin it", "é", *(f"i{n}" for n in range(15))]
    store = make_store(tmp_path / "a.parquet", ids, dtype=dtype)
    for size, at_once in ((1_000_000, 4096), (7, 3)):
        monkeypatch.setattr(exporting, "FILE_ROWS", size)
        monkeypatch.setattr(exporting, "AT_ONCE", at_once)
        monkeypatch.setattr(adopting, "AT_ONCE", at_once + 1)
        done = export(store.path, layout, tmp_path / f"out{size}")
        assert (done.rows, done.missing, done.left_out) == (20, {"image": 3, "text": 4}, [])
        back = tmp_path / f"b{size}.parquet"
        assert adopt(done.out, Adoption(layout), Target(back)) == (20, {"image": 3, "text": 4})
        assert rows(open_store(back)) == rows(store)
        assert replace(open_store(back), path=store.path, files=store.files, file_rows=()) == (
            replace(store, file_rows=())
        )
        assert diff(store.path, back).equal


@pytest.mark.parametrize("count", [0, 9])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_row_and_no_vector_are_stores_too(tmp_path: Path, layout: str, count: int) -> None:
    none = {"image": [None] * count, "image_status": ["missing"] * count}
    store = make_store(tmp_path / "a", count, **none)
    done = export(store.path, layout, tmp_path / "out")
    assert (done.rows, done.missing["image"]) == (count, count)
    assert adopt(done.out, Adoption(layout), Target(tmp_path / "b")) == (count, done.missing)
    back = open_store(tmp_path / "b")
    assert rows(back) == rows(store)
    assert (back.card, back.dtype, back.rows) == (store.card, store.dtype, count)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.none(),
            st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3,
                     max_size=3),
        ),
        min_size=1,
        max_size=9,
    ),
    st.sampled_from(LAYOUTS),
)  # fmt: skip
def test_every_bit_survives(
    tmp_path_factory: pytest.TempPathFactory, image: list[list[float] | None], layout: str
) -> None:
    folder = tmp_path_factory.mktemp("bits")
    status = ["ok" if vector else "missing" for vector in image]
    store = make_store(folder / "a", len(image), image=image, image_status=status)
    export(store.path, layout, folder / "out")
    adopt(folder / "out", Adoption(layout), Target(folder / "b"))
    bits = [_bits(open_store(folder / name), "image") for name in "ab"]
    assert bits[0] == bits[1]


def _bits(store: Store, modality: str) -> list[bytes | None]:
    return [v and np.array(v, np.float32).tobytes() for row in rows(store) for v in [row[modality]]]


def test_numpy_reads_npy(tmp_path: Path) -> None:
    store = make_store(tmp_path / "a")
    export(store.path, "npy", tmp_path / "out")
    assert names(tmp_path / "out") == ["card.json", "ids.parquet", "image.npy", "text.npy"]
    for modality in ("image", "text"):
        found = np.load(tmp_path / "out" / f"{modality}.npy")
        expected, present = store.vectors(modality, pa.array([r["item_id"] for r in rows(store)]))
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found[present], expected[present])
        assert np.isnan(found[~present]).all()
    ids = pq.read_table(tmp_path / "out/ids.parquet")
    assert ids["item_id"].to_pylist() == [row["item_id"] for row in rows(store)]


def test_safetensors_reads_safetensors(tmp_path: Path) -> None:
    store = make_store(tmp_path / "a")
    export(store.path, "safetensors", tmp_path / "s")
    export(store.path, "npy", tmp_path / "n")
    found = safetensors.numpy.load_file(tmp_path / "s/vectors.safetensors")
    assert sorted(found) == ["image", "text"]
    for name, values in found.items():
        np.testing.assert_array_equal(values, np.load(tmp_path / f"n/{name}.npy"))


def test_mmrec_gets_means_and_a_list(tmp_path: Path) -> None:
    """As MMRec's own preprocessing fills and lists the pictures that are not there."""
    store = make_store(tmp_path / "a")
    export(store.path, "mmrec", tmp_path / "out")
    found = np.load(tmp_path / "out/image_feat.npy")
    missed = np.loadtxt(tmp_path / "out/missed_img_itemIDs.csv", dtype=int)
    assert missed.tolist() == [1, 8, 15]
    others = np.delete(found, missed, axis=0)
    np.testing.assert_allclose(found[missed], [others.astype(float).mean(0)] * 3, rtol=1e-6)
    with (tmp_path / "out/i_id_mapping.csv").open() as file:
        listed = list(csv.DictReader(file, delimiter="\t"))
    assert listed[3] == {"asin": "i3", "itemID": "3"}
    fused = make_store(tmp_path / "f", card=replace(CARD, dimensions={"text": 2, "fused": 4}))
    assert export(fused.path, "mmrec", tmp_path / "o").left_out == ["fused"]
    only = make_store(tmp_path / "g", card=replace(CARD, dimensions={"fused": 4}))
    with pytest.raises(StoreError, match="MMRec takes image, text"):
        export(only.path, "mmrec", tmp_path / "none")


def test_embeddings_are_numbered_like_clip_retrieval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "FILE_ROWS", 2)
    store = make_store(tmp_path / "a", 21)
    export(store.path, "embeddings", tmp_path / "out")
    assert names(tmp_path / "out") == ["card.json", "img_emb", "metadata", "text_emb"]
    assert names(tmp_path / "out/img_emb")[::10] == ["img_emb_00.npy", "img_emb_10.npy"]
    ids = pq.read_table(tmp_path / "out/metadata/metadata_10.parquet")["item_id"]
    assert ids.to_pylist() == ["i20"]
    assert np.load(tmp_path / "out/text_emb/text_emb_10.npy").shape == (1, 2)


def test_changed_vectors_are_not_the_encoders_any_more(tmp_path: Path) -> None:
    """A card must not follow numbers that were whitened, scaled or sorted in between."""
    store, folder = make_store(tmp_path / "a"), tmp_path / "x"
    export(store.path, "npy", folder)
    np.save(folder / "image.npy", 2 * np.load(folder / "image.npy"))
    with pytest.raises(
        StoreError, match=r"image.npy differs from its SHA-256 in .*; delete card.json and give"
    ):
        adopt(folder, Adoption("npy"), Target(tmp_path / "b"))
    (folder / "card.json").unlink()
    adopt(folder, Adoption("npy", "twice the fake"), Target(tmp_path / "b"))
    found = diff(store.path, tmp_path / "b")
    assert "architecture" in found.card
    assert found.vectors["image"].min_cosine == pytest.approx(1)


def test_what_the_options_must_say(tmp_path: Path) -> None:
    store = make_store(tmp_path / "a")
    export(store.path, "npy", tmp_path / "x")
    with pytest.raises(OptionError, match="drop --encoder"):
        adopt(tmp_path / "x", Adoption("npy", "e"), Target(tmp_path / "b"))
    (tmp_path / "x/card.json").unlink()
    with pytest.raises(OptionError, match="--encoder NAME says what made"):
        adopt(tmp_path / "x", Adoption("npy"), Target(tmp_path / "b"))
    with pytest.raises(OptionError, match="did you mean 'mmrec'"):
        export(store.path, "mmrc", tmp_path / "y")
    with pytest.raises(StoreError, match="no folder"):
        adopt(tmp_path / "none", Adoption("npy", "e"), Target(tmp_path / "b"))


def test_only_an_export_is_replaced(tmp_path: Path) -> None:
    store, out = make_store(tmp_path / "a"), tmp_path / "x"
    export(store.path, "npy", out)
    with pytest.raises(TargetError, match="exists; set --out elsewhere, or --overwrite"):
        export(store.path, "npy", out)
    export(store.path, "embeddings", out, overwrite=True)
    assert "img_emb" in names(out)
    (out / "metadata/mine.txt").write_text("dear to me")
    with pytest.raises(TargetError, match="is not a folder that mmx exported, or holds other"):
        export(store.path, "npy", out, overwrite=True)
    assert (out / "metadata/mine.txt").exists()
