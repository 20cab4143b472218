"""Datasets for MMRec and RecBole: numbered alike everywhere, and back again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from mmx.cache.card import EncoderCard
from mmx.cache.mmrec_features import store_of
from mmx.cache.parts import write_vectors
from mmx.cache.schema import metadata, store_schema
from mmx.cache.store import open_store
from mmx.data.csvs.format import CsvFormat
from mmx.data.formats.importing import import_dataset
from mmx.data.formats.options import ImportOptions
from mmx.data.splits import SplitRule
from mmx.errors import DataError, OptionError, StoreError, TargetError
from mmx.recommend.exporting import export_dataset
from tests.cache.stores import make_store
from tests.catalogue import random_log

ODD = ["007", ' "q" x', "é|:", "a,b", "'", "NA"]
TEXTS = ['Mug "27"', '"quoted" first', "tab\tbreak\nend", None, "", "é"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Odd ids and texts, a split, ratings and times; the last item is nobody's."""
    folder = tmp_path / "data"
    folder.mkdir()
    items = [*ODD, *(f"i{n}" for n in range(14)), "nobody"]
    log = [(f"u{u}", items[int(i[1:])]) for u, i in random_log(30, 20, 8)]
    n = len(log)
    split = ["valid" if k % 8 == 6 else "test" if k % 8 == 7 else "train" for k in range(n)]
    table = {"user_id": [u for u, _ in log], "item_id": [i for _, i in log]}
    table |= {"rating": [float(k % 5 + 1) for k in range(n)], "timestamp": list(range(n))}
    table["weight"] = [(1.0, 2.5, 10.0)[k % 3] for k in range(n)]
    pq.write_table(pa.table({**table, "split": split}), folder / "interactions.parquet")
    texts = (TEXTS * 4)[: len(items)]
    more = {"year": [None if k % 4 == 0 else k for k in range(len(items))]}
    tags = pa.array([["x"]] * len(items))
    table = pa.table({"item_id": items, "text": texts, **more, "tags": tags})
    pq.write_table(table, folder / "items.parquet")
    return folder


def triples(folder: Path, *more: str) -> list[tuple]:
    """The rows of a log, sorted."""
    table = pq.read_table(folder / "interactions.parquet")
    return sorted(zip(*(table[n].to_pylist() for n in ("user_id", "item_id", *more)), strict=True))


def features(folder: Path, ids: list[str]) -> tuple[Path, dict[str, np.ndarray]]:
    """A store in which every third item has no vector; the vectors by id."""
    card = EncoderCard("fake", "mmx", "fake", "none", {"image": 4}, False, "float32")
    rng = np.random.default_rng(0)
    vectors = {i: rng.normal(size=4).astype(np.float32) for n, i in enumerate(ids) if n % 3}
    table = {
        "item_id": ids,
        "image": [vectors.get(i) for i in ids],
        "image_status": ["ok" if i in vectors else "missing" for i in ids],
        "content_hash": ids,
    }
    schema = store_schema(card, "float32").with_metadata(metadata(card, "float32", "f"))
    write_vectors(pa.table(table, schema=schema), folder / "s.parquet")
    return folder / "s.parquet", vectors


def test_mmrec_and_back(tmp_path: Path, data: Path) -> None:
    ids = pq.read_table(data / "items.parquet")["item_id"].to_pylist()
    store, vectors = features(tmp_path, ids[::-1])
    done = export_dataset(data, "mmrec", tmp_path / "toy", [store])
    assert done.items_left_out == 1
    assert "tags" in done.columns_left_out
    log = [line.split("\t") for line in (tmp_path / "toy/toy.inter").read_text().splitlines()]
    assert log[0] == ["userID", "itemID", "rating", "timestamp", "weight", "x_label"]
    numbers = sorted({int(row[1]) for row in log[1:]})
    matrix = np.load(tmp_path / "toy/image_feat.npy", allow_pickle=False)
    assert numbers == list(range(done.items)) == list(range(len(matrix)))

    import_dataset(
        "mmrec", [tmp_path / "toy"], tmp_path / "back", beside=store_of(tmp_path / "toy")
    )
    columns = ("rating", "timestamp", "weight", "split")
    assert triples(tmp_path / "back", *columns) == triples(data, *columns)
    back = pq.read_table(tmp_path / "back/items.parquet")["item_id"].to_pylist()
    assert back == ids[:-1]
    found, present = open_store(tmp_path / "back/features.parquet").vectors("image", ids[:-1])
    assert open_store(tmp_path / "back/features.parquet").card.name == "MMRec toy"
    missed = [n for n, i in enumerate(ids[:-1]) if i not in vectors]
    listed = (tmp_path / "toy/missed_img_itemIDs.csv").read_text().split()
    assert list(map(int, listed)) == missed
    mean = np.mean([vectors[i] for i in ids[:-1] if i in vectors], axis=0)
    for n, item in enumerate(ids[:-1]):
        assert present[n] == (item in vectors)
        wanted = vectors.get(item, mean)
        np.testing.assert_allclose(matrix[n], wanted, rtol=1e-6)
        if present[n]:
            np.testing.assert_array_equal(found[n], vectors[item])


def test_mmrec_without_maps_or_with_tensors(tmp_path: Path, data: Path) -> None:
    torch = pytest.importorskip("torch")
    ids = pq.read_table(data / "items.parquet")["item_id"].to_pylist()
    store, _ = features(tmp_path, ids)
    toy = tmp_path / "toy"
    export_dataset(data, "mmrec", toy, [store])
    for name in ("u_id_mapping.csv", "i_id_mapping.csv"):
        (toy / name).unlink()
    matrix = np.load(toy / "image_feat.npy")
    (toy / "image_feat.npy").unlink()
    torch.save(torch.from_numpy(matrix), toy / "image_feat.pt")
    import_dataset("mmrec", [toy], tmp_path / "back", beside=store_of(toy))
    assert {i for _, i in triples(tmp_path / "back")} == {str(n) for n in range(len(matrix))}
    found, present = open_store(tmp_path / "back/features.parquet").vectors("image", ["3", "1"])
    np.testing.assert_array_equal(found[present], matrix[[3, 1]][present])
    torch.save({"x": Path("/")}, toy / "image_feat.pt")  # what only pickle can read
    with pytest.raises(StoreError, match="without running code"):
        import_dataset("mmrec", [toy], tmp_path / "other", beside=store_of(toy))
    assert not (tmp_path / "other").exists()


def test_mmrec_features_of_other_items_are_refused(tmp_path: Path, data: Path) -> None:
    toy = tmp_path / "toy"
    export_dataset(data, "mmrec", toy)
    np.save(toy / "image_feat.npy", np.ones((5, 3), np.float32))
    with pytest.raises(StoreError, match="has 5 rows for 20 ids"):
        import_dataset("mmrec", [toy], tmp_path / "back", beside=store_of(toy))
    (toy / "i_id_mapping.csv").unlink()
    with pytest.raises(DataError, match=r"no row for item .* and 12 more; they are of other items"):
        import_dataset("mmrec", [toy], tmp_path / "back", beside=store_of(toy))
    np.save(toy / "image_feat.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(StoreError, match=r"image_feat.npy holds object|a matrix of floats"):
        import_dataset("mmrec", [toy], tmp_path / "back", beside=store_of(toy))


def test_mmrec_files_that_do_not_fit_are_named(tmp_path: Path, data: Path) -> None:
    toy = tmp_path / "toy"
    export_dataset(data, "mmrec", toy)
    with pytest.raises(OptionError, match="--k-core would change the split"):
        import_dataset("mmrec", [toy], tmp_path / "back", ImportOptions(k_core=2))
    ids = (toy / "i_id_mapping.csv").read_text()
    for change, said in (
        (ids.rpartition("\n")[0].rpartition("\n")[0], "no id for 19, which .*toy.inter names"),
        (ids + "x\t3\n", "i_id_mapping.csv has 3 more than once"),
        (ids + "007\t99\n", "i_id_mapping.csv has 007 more than once"),
    ):
        (toy / "i_id_mapping.csv").write_text(change)
        with pytest.raises(DataError, match=said):
            import_dataset("mmrec", [toy], tmp_path / "back")
    (toy / "i_id_mapping.csv").write_text(ids)
    log = (toy / "toy.inter").read_text()
    (toy / "toy.inter").write_text(log + "1\t2\t3\t4\t5\t6\n")
    with pytest.raises(DataError, match="x_label is not 0, 1 or 2"):
        import_dataset("mmrec", [toy], tmp_path / "back")
    (toy / "other.inter").write_text(log)
    with pytest.raises(DataError, match=r"one \.inter file is expected, there is other.inter, toy"):
        import_dataset("mmrec", [toy], tmp_path / "back")


@pytest.mark.parametrize("split", [True, False])
def test_recbole_and_back(tmp_path: Path, data: Path, split: bool) -> None:
    columns = ["rating", "timestamp", "weight", *["split"] * split]
    if not split:
        table = pq.read_table(data / "interactions.parquet").drop_columns(["split"])
        pq.write_table(table, data / "interactions.parquet")
    ids = pq.read_table(data / "items.parquet")["item_id"].to_pylist()
    store, vectors = features(tmp_path, ids)
    export_dataset(data, "recbole", tmp_path / "toy", [store])
    logs = {path.name for path in (tmp_path / "toy").glob("*.inter")}
    parts = {f"toy.{part}.inter" for part in ("train", "valid", "test")}
    assert logs == (parts if split else {"toy.inter"})
    import_dataset("recbole", [tmp_path / "toy"], tmp_path / "back")
    assert triples(tmp_path / "back", *columns) == triples(data, *columns)
    back = pq.read_table(tmp_path / "back/items.parquet").to_pydict()
    given = pq.read_table(data / "items.parquet").slice(0, 20).to_pydict()
    assert back["item_id"] == given["item_id"]
    assert back["year"] == given["year"]
    texts = [t and t.replace("\t", " ").replace("\n", " ") for t in given["text"]]
    assert back["text"] == [text or None for text in texts]
    lines = (tmp_path / "toy/toy.imageemb").read_text().splitlines()[1:]
    assert len(lines) == sum(i in vectors for i in ids[:-1])
    settings = yaml.safe_load((tmp_path / "toy/toy.yaml").read_text())
    assert settings["load_col"]["imageemb"] == ["imageemb_id", "imageemb"]
    assert ("benchmark_filename" in settings) == split


def test_pandas_reads_recbole_files_as_we_do(tmp_path: Path, data: Path) -> None:
    pandas = pytest.importorskip("pandas")
    export_dataset(data, "recbole", tmp_path / "toy")
    import_dataset("recbole", [tmp_path / "toy"], tmp_path / "back")
    path = tmp_path / "toy/toy.item"
    theirs = pandas.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    ours = pq.read_table(tmp_path / "back/items.parquet").to_pydict()
    assert theirs["item_id:token"].tolist() == ours["item_id"]
    assert theirs["text:token_seq"].tolist() == [text or "" for text in ours["text"]]


def test_filters_and_refusals(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "toy"
    rule = SplitRule("leave-one-out", min_rating=2, k_core=3)
    done = export_dataset(data, "mmrec", out, rule=rule)
    assert done.left_out[0].why == "--min-rating 2"
    import_dataset("mmrec", [out], tmp_path / "back")
    rated = set(triples(data, "rating", "timestamp"))
    kept = triples(tmp_path / "back", "rating", "timestamp")
    assert set(kept) < rated
    assert min(row[2] for row in kept) == 2
    with pytest.raises(TargetError, match="exists; set --out elsewhere, or --overwrite"):
        export_dataset(data, "mmrec", out)
    (out / "mine.txt").write_text("x")
    with pytest.raises(TargetError, match="holds other things too"):
        export_dataset(data, "mmrec", out, overwrite=True)
    (out / "mine.txt").unlink()
    export_dataset(data, "mmrec", out, overwrite=True)
    with pytest.raises(OptionError, match="neither MMRec nor RecBole reads a split by users"):
        export_dataset(data, "recbole", tmp_path / "x", rule=SplitRule("users"))
    with pytest.raises(OptionError, match="--delimiter is for CSV files"):
        export_dataset(data, "recbole", tmp_path / "x", csv=CsvFormat(delimiter=";"))
    with pytest.raises(OptionError, match="--to recbol is unknown; did you mean 'recbole'"):
        export_dataset(data, "recbol", tmp_path / "x")
    table = pq.read_table(data / "interactions.parquet").to_pydict()
    pq.write_table(pa.table({**table, "user_id": ["a\tb", *table["user_id"][1:]]}),
                   data / "interactions.parquet")  # fmt: skip
    with pytest.raises(DataError, match="has a tab or a line break in it"):
        export_dataset(data, "mmrec", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_names_that_yaml_and_headers_have_a_use_for(tmp_path: Path, data: Path) -> None:
    items = pq.read_table(data / "items.parquet")
    for name in ("a:b", "it's"):
        items = items.append_column(name, pa.array(range(len(items))))
    pq.write_table(items, data / "items.parquet")
    store, vectors = features(tmp_path, items["item_id"].to_pylist())
    done = export_dataset(data, "recbole", tmp_path / "o'neil", [store])
    assert done.columns_left_out == ["tags", "a:b"]
    assert done.missing == {"image": 20 - len(vectors.keys() - {"nobody"})}
    settings = yaml.safe_load((tmp_path / "o'neil/o'neil.yaml").read_text())
    assert settings["load_col"]["item"] == ["item_id", "text", "year", "it's"]
    assert settings["additional_feat_suffix"] == ["imageemb"]
    assert settings["alias_of_item_id"] == ["imageemb_id"]
    export_dataset(data, "mmrec", tmp_path / "d'or", [store])
    settings = yaml.safe_load((tmp_path / "d'or/d'or.yaml").read_text())
    assert settings["inter_file_name"] == "d'or.inter"


def test_mmrec_takes_no_other_modality(tmp_path: Path, data: Path) -> None:
    card = EncoderCard("fake", "mmx", "fake", "none", {"audio": 2}, False, "float32")
    store = make_store(tmp_path / "a.parquet", ODD, card=card, audio_status=["ok"] * len(ODD))
    with pytest.raises(OptionError, match="MMRec takes image and text, not audio; leave it out"):
        export_dataset(data, "mmrec", tmp_path / "x", [store.path])


def test_items_that_the_table_lacks(tmp_path: Path, data: Path) -> None:
    items = pq.read_table(data / "items.parquet")
    pq.write_table(items.slice(0, 15), data / "items.parquet")
    with pytest.raises(DataError, match=r"name items that items.parquet lacks"):
        export_dataset(data, "recbole", tmp_path / "toy")
    said: list[str] = []
    done = export_dataset(data, "recbole", tmp_path / "toy", unknown="drop", log=said.append)
    assert done.items == 15
    assert said[0].startswith("dropped ")


@pytest.mark.slow
@pytest.mark.skipif("MMREC_DIR" not in os.environ, reason="MMREC_DIR names an MMRec checkout")
def test_mmrec_trains_on_it(tmp_path: Path, data: Path) -> None:
    ids = pq.read_table(data / "items.parquet")["item_id"].to_pylist()
    store, _ = features(tmp_path, ids)
    export_dataset(data, "mmrec", tmp_path / "toy", [store])
    script = Path(__file__).parents[2] / "benchmarks/mmrec_trains.py"
    line = [sys.executable, script, os.environ["MMREC_DIR"], tmp_path / "toy", "--epochs", "1"]
    done = subprocess.run(
        [*map(str, line), "--model", "VBPR"], capture_output=True, text=True, check=True
    )
    assert 0 <= json.loads(done.stdout.splitlines()[-1])["recall@20"] <= 1
