"""Arguments of another type than they should be: one line of an MmxError, or they work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mmx
from mmx.extract.finetune import FinetuneOptions
from mmx.recommend.fuse import fuse
from tests.catalogue import plain_catalogue, random_log, write_interactions

Job: Any = mmx.TrainJob
Options: Any = mmx.TrainOptions


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/, cache/toy.parquet and runs/knn."""
    folder = tmp_path_factory.mktemp("shop")
    plain_catalogue(folder / "data", items=12)
    write_interactions(folder / "data", random_log(9, 12, 6))
    mmx.encode(folder / "data", "toy", folder / "cache/toy.parquet")
    mmx.fit(mmx.TrainJob(folder / "data", "itemknn"), folder / "runs/knn")
    return folder


@pytest.fixture
def _here(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)


def trained(job: Any, out: Any = "runs/x", **options: Any) -> Any:
    return mmx.fit(job, out, **options)


def run_of(**options: Any) -> Any:
    return mmx.evaluate("runs/knn", **options)


def lists(*arguments: Any, **options: Any) -> Any:
    return mmx.top_k("runs/knn", *arguments, **options)


def encoded(model: Any = "toy", **options: Any) -> Any:
    return mmx.encode("data", model, "cache/x.parquet", **options)


def tuned(model: Any = "clip:mini", **options: Any) -> Any:
    return mmx.finetune("data", model, "runs/tuned", **options)


def store() -> Any:
    return mmx.open_store("cache/toy.parquet")


def sql() -> Any:
    return mmx.open_sql("cache", "runs")


OPEN: Any = mmx.open_encoder
WRONG: dict[str, Any] = {
    "split none": lambda: run_of(split=None),
    "split list": lambda: run_of(split=["test"]),
    "at": lambda: run_of(at=np.array(5)),
    "cold": lambda: run_of(cold="no"),
    "k none": lambda: lists("u1", None),
    "k half": lambda: lists("u1", 2.0),
    "k text": lambda: lists("u1", "2"),
    "seen": lambda: lists("u1", seen=[]),
    "items from": lambda: lists(items_from=5),
    "job none": lambda: trained(None),
    "job text": lambda: trained("data"),
    "model none": lambda: Job("data", None),
    "model list": lambda: Job("data", ["bpr"]),
    "data items": lambda: Job(mmx.load_items("data"), "popularity"),
    "settings": lambda: Job("data", "bpr", settings=3),
    "settings of numbers": lambda: Job("data", "bpr", settings=[3]),
    "training": lambda: Job("data", "bpr", training={"epochs": 1}),
    "rule": lambda: Job("data", "bpr", split="random"),
    "csv": lambda: Job("data", "bpr", csv=None),
    "end to end": lambda: Job("data", "vbpr", end_to_end="clip:mini"),
    "unknown": lambda: Job("data", "bpr", unknown_items=None),
    "modalities": lambda: mmx.FeatureSpec("a", 3),  # type: ignore[arg-type]
    "modality": lambda: mmx.FeatureSpec("a", [3]),  # type: ignore[list-item]
    "out": lambda: trained(Job("data", "popularity"), "s3://bucket/x"),
    "overwrite": lambda: trained(Job("data", "popularity"), overwrite="no"),
    "fuse": lambda: fuse(["runs/knn", "runs/x"], overwrite="no"),  # type: ignore[arg-type]
    "progress": lambda: trained(Job("data", "popularity"), progress=None),
    "no device": lambda: Options(device=None),
    "precision": lambda: Options(precision=None),
    "finetune none": lambda: tuned(None),
    "finetune options": lambda: tuned(options={"epochs": 1}),
    "finetune web": lambda: tuned(web=3),
    "encoder none": lambda: encoded(None),
    "encoder path": lambda: encoded(Path("toy")),
    "encode options": lambda: encoded(options={"batch_size": 3}),
    "encode modalities": lambda: encoded(modalities=3),
    "encode device": lambda: encoded(device=[0]),
    "encode engine": lambda: encoded(engine=3),
    "encode csv": lambda: encoded(csv=None),
    "encode web": lambda: encoded(web="x"),
    "encode progress": lambda: encoded(progress=None),
    "decode": lambda: encoded(decode=3),
    "retry": lambda: mmx.ExtractOptions(retry_failed="no"),  # type: ignore[arg-type]
    "private": lambda: mmx.Web(allow_private="no"),  # type: ignore[arg-type]
    "augment": lambda: FinetuneOptions(augment="no"),  # type: ignore[arg-type]
    "open encoder": lambda: OPEN(Path("toy")),
    "open encoder of": lambda: OPEN("toy", modalities=3),
    "open encoder on": lambda: OPEN("clip:mini", device=None),
    "vectors of": lambda: store().vectors(["image"], ["i1"]),
    "vectors one": lambda: store().vectors("image", "i1"),
    "query": lambda: sql().ask(None),
    "query bytes": lambda: sql().ask(b"select 1"),
    "datasets": lambda: mmx.open_sql(datasets=3),  # type: ignore[arg-type]
    "items": lambda: mmx.load_interactions("data", None),  # type: ignore[arg-type]
    "rules": lambda: mmx.SplitRule(None),  # type: ignore[arg-type]
    "encoding": lambda: mmx.CsvFormat(3, 3),  # type: ignore[arg-type]
    "joint": lambda: mmx.EndToEndJob(None),  # type: ignore[arg-type]
    "joint options": lambda: mmx.EndToEndJob("clip", options={"chunk": 3}),  # type: ignore[arg-type]
    "tune": lambda: mmx.EndToEndOptions(tune=None),  # type: ignore[arg-type]
}


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_one_line(call: Any) -> None:
    with pytest.raises(mmx.OptionError, match="expected") as caught:
        call()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200
    assert not Path("s3:").exists()


@pytest.mark.usefixtures("_here")
def test_numbers_and_texts_of_numpy() -> None:
    training = Options(epochs=np.int64(1), lr=np.float32(0.01), seed=np.int64(3))
    run = trained(Job(np.str_("data"), np.str_("bpr"), training=training), np.str_("runs/numpy"))
    assert mmx.open_run(run.path).config["training"]["seed"] == 3
    user = run.data.users.ids[0].as_py()
    assert lists(np.str_(user), np.int32(2)).equals(lists(user, 2))
    assert run_of(at=np.array([5, 10])).means == run_of(at=(5, 10)).means


@pytest.mark.usefixtures("_here")
def test_vectors_of_a_list() -> None:
    vectors, known = store().vectors("image", ["i1", "nobody"])
    assert known.tolist() == [True, False]
    assert vectors.shape == (2, 8)
