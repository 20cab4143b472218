"""From Python: paths as text, a single one for a list, ids as other libraries keep them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import mmx
from mmx.cache.adopt import Adoption, adopt
from mmx.cache.export import LAYOUTS, export
from mmx.cache.store import open_store
from mmx.cache.tools import Target, filter_store, unite
from mmx.data.csvs.reader import read_csv
from mmx.data.vocabulary import Vocabulary
from mmx.errors import OptionError, UnknownIdError
from mmx.extract.pipeline import extract
from mmx.recommend.end_to_end import EndToEndJob
from mmx.recommend.fuse import fuse
from mmx.recommend.recommendation import recommend, recommend_from
from mmx.sql import open_sql
from tests.cache.stores import make_store, rows
from tests.catalogue import plain_catalogue, random_log, write_interactions


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """data/ in the folder where Python runs."""
    plain_catalogue(tmp_path / "data", items=12)
    write_interactions(tmp_path / "data", random_log(9, 12, 6))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_everything_by_text(shop: Path) -> None:
    items = mmx.load_items("data")
    extract(items, mmx.open_encoder("toy"), "cache/toy.parquet")
    assert mmx.open_store("cache/toy.parquet").rows == 12
    job = mmx.TrainJob("data", "itemknn-cbf", features="cache/toy.parquet")
    mmx.fit(job, out="runs/a")
    named: Any = ["cache/toy.parquet:image"]
    mmx.fit(mmx.TrainJob("data", "itemknn-cbf", features=named), out="runs/b")
    assert mmx.open_run("runs/b").config["features"][0]["modality"] == "image"
    fused = fuse(["runs/a", "runs/b"], "runs/c")
    assert fused.path == Path("runs/c")
    filter_store("cache/toy.parquet", Target("some.parquet"), where="item_id != 'i0'")  # type: ignore[arg-type]
    filter_store("cache/toy.parquet", Target("one.parquet"), where="item_id = 'i0'")  # type: ignore[arg-type]
    assert unite(["some.parquet", "one.parquet"], Target("all.parquet")) == 12  # type: ignore[arg-type]
    export("all.parquet", "npy", "npy")
    adopt("npy", Adoption("npy"), Target("back.parquet"))  # type: ignore[arg-type]
    with open_sql("cache", "runs", "data", "all.parquet") as opened:
        assert opened.ask("select count(*) as n from items").to_pylist() == [{"n": 12}]
    mmx.write_sample("sample", items=20, users=10)


def test_specs_of_any_kind() -> None:
    path = Path("cache/clip.parquet")
    for given in ("cache/clip.parquet", path, mmx.FeatureSpec(path), [path], (str(path),)):
        job = mmx.TrainJob("data", features=given)  # type: ignore[arg-type]
        assert job.features == [mmx.FeatureSpec(path)]
    assert mmx.FeatureSpec("a", "image").modalities == ("image",)  # type: ignore[arg-type]
    assert mmx.TrainJob("data", settings="dim=8").settings == ["dim=8"]
    joint = EndToEndJob("clip", weights="w", pixels="p")  # type: ignore[arg-type]
    assert (joint.weights, joint.pixels) == (Path("w"), Path("p"))


WRONG: dict[str, Any] = {
    "data": lambda: mmx.TrainJob(3),  # type: ignore[arg-type]
    "features": lambda: mmx.TrainJob("data", features=3),  # type: ignore[arg-type]
    "a list of features": lambda: mmx.TrainJob("data", features=[3]),  # type: ignore[list-item]
    "spec": lambda: mmx.FeatureSpec(None),  # type: ignore[arg-type]
    "items": lambda: mmx.load_items(3),  # type: ignore[arg-type]
    "no items": lambda: mmx.load_items(None),  # type: ignore[arg-type]
    "run": lambda: mmx.open_run(3),  # type: ignore[arg-type]
    "store": lambda: mmx.open_store(["a"]),  # type: ignore[arg-type]
    "fit": lambda: mmx.fit(mmx.TrainJob("data"), out=3),  # type: ignore[arg-type]
    "fuse": lambda: fuse(3),  # type: ignore[arg-type]
    "fuse numbers": lambda: fuse([1, 2]),  # type: ignore[list-item]
    "weights": lambda: mmx.open_encoder("clip:mini", weights=3),  # type: ignore[arg-type]
    "sample": lambda: mmx.write_sample(3),  # type: ignore[arg-type]
    "target": lambda: Target(3),  # type: ignore[arg-type]
    "sql": lambda: open_sql(3),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_a_wrong_type(call: Any) -> None:
    with pytest.raises(OptionError, match=r"is a (int|NoneType|list); a path is expected"):
        call()


IDS: dict[str, Any] = {
    "numpy": np.array(["i3", "i1"]),
    "numpy objects": np.array(["i3", "i1"], dtype=object),
    "a list of numpy texts": [np.str_("i3"), np.str_("i1")],
    "pandas": pd.Series(["i3", "i1"]),
    "pandas index": pd.Index(["i3", "i1"]),
    "arrow": pa.array(["i3", "i1"]),
    "arrow large": pa.array(["i3", "i1"], pa.large_string()),
    "arrow views": pa.array(["i3", "i1"], pa.string_view()),
    "arrow chunks": pa.chunked_array([["i3"], ["i1"]]),
    "arrow dictionary": pa.array(["i3", "i1"]).dictionary_encode(),
    "a tuple": ("i3", "i1"),
    "keys": {"i3": 1, "i1": 2}.keys(),
}


@pytest.mark.parametrize("ids", IDS.values(), ids=IDS)
def test_ids_of_other_libraries(shop: Path, ids: Any) -> None:
    assert Vocabulary(["i1", "i2", "i3"]).numbers(ids).tolist() == [2, 0]
    assert Vocabulary(ids).numbers(["i1"]).tolist() == [1]
    run = mmx.fit(mmx.TrainJob("data", "itemknn"), "run")
    found = recommend_from(run, ids, mmx.RecommendOptions(exclude=ids))
    assert not set(found["item_id"].to_pylist()) & {"i1", "i3"}
    only = recommend(run, np.array(["u1"]), mmx.RecommendOptions(only=ids, seen="none"))
    assert set(only["item_id"].to_pylist()) <= {"i1", "i3"}


@pytest.mark.parametrize("ids", ["i1", b"i1", 3, [1], np.array([1, 2]), pa.array([1.5]), [["a"]]])
def test_ids_that_are_none(ids: Any) -> None:
    with pytest.raises(OptionError, match=r"is expected|are expected"):
        Vocabulary(["i1", "i2"]).numbers(ids)
    with pytest.raises(OptionError, match=r"is expected|are expected"):
        mmx.RecommendOptions(exclude=ids)


def test_no_ids_at_all() -> None:
    """An empty list has no type of its own."""
    assert Vocabulary(["i1"]).numbers([]).tolist() == []
    assert mmx.RecommendOptions(exclude=np.array([], dtype=object)).exclude == []
    with pytest.raises(UnknownIdError):
        Vocabulary(["i1"]).numbers([None])  # type: ignore[list-item]


ODD_IDS = ["a\rb", "a\r", "\rb", "a\nb", "a\r\nb", "a\tb", 'a"b', '"', "a,b", " a ", "é", "a\\b",
           "#a", "a'b", "\x01", "\u2028", "NA", "nan", "007", "1e5", "-", "a\x00b"]  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_ids_with_control_characters(tmp_path: Path, layout: str) -> None:
    """Each layout holds any id, and gives the same store back."""
    store = make_store(tmp_path / "a.parquet", ODD_IDS)
    out = export(store.path, layout, tmp_path / "out").out
    adopt(out, Adoption(layout), Target(tmp_path / "b.parquet"))
    assert rows(open_store(tmp_path / "b.parquet")) == rows(store)


def test_the_item_map_as_others_read_it(tmp_path: Path) -> None:
    """MMRec reads its map with pandas, by tabs."""
    ids = [name for name in ODD_IDS if "\x00" not in name]
    out = export(make_store(tmp_path / "a.parquet", ids).path, "mmrec", tmp_path / "out").out
    found = pd.read_csv(out / "i_id_mapping.csv", sep="\t", keep_default_na=False, dtype=str)
    assert found["asin"].to_list() == ids
    assert found["itemID"].to_list() == [str(n) for n in range(len(ids))]


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_tables_of_odd_ids(tmp_path: Path, suffix: str) -> None:
    """What mmx writes as text is what it reads."""
    from mmx.cli.table_files import write_table

    table = pa.table({"item_id": ODD_IDS, "x": ["y"] * len(ODD_IDS)})
    path = tmp_path / f"a.{suffix}"
    write_table(path, table.schema, table.to_batches(), overwrite=False)
    assert read_csv(path)["item_id"].to_pylist() == ODD_IDS
