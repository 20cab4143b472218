"""encode, fit, evaluate and top_k from Python: what they take, refuse, give and log."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

import mmx
from mmx.cache.store import is_store
from mmx.extract.encoders.request import OPTIONS, EncoderOptions
from tests.catalogue import plain_catalogue, random_log, write_interactions


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/ and runs/knn."""
    folder = tmp_path_factory.mktemp("shop")
    plain_catalogue(folder / "data", items=12)
    write_interactions(folder / "data", random_log(9, 12, 6))
    mmx.fit(mmx.TrainJob(folder / "data", "itemknn"), folder / "runs/knn")
    return folder


def test_encode_by_name(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    report = mmx.encode(str(shop / "data"), "toy", modalities="image")
    assert (report.store, report.encoded) == (Path("cache/toy.parquet"), 12)
    assert [*mmx.open_store(report.store).card.dimensions] == ["image"]
    assert mmx.encode(shop / "data", "toy", modalities=["image"], device=["cpu"]).reused == 12


def test_encode_by_an_open_encoder(shop: Path, tmp_path: Path) -> None:
    items = mmx.load_items(shop / "data")
    report = mmx.encode(items, mmx.open_encoder("toy"), tmp_path / "a.parquet")
    assert is_store(tmp_path / "a.parquet")
    assert report.precision == "float32"


REFUSED: dict[str, tuple[Any, str]] = {
    "device": (lambda s: mmx.encode(s / "data", mmx.open_encoder("toy"), device="cpu"), "^device"),
    "weights": (lambda s: mmx.encode(s / "data", mmx.open_encoder("toy"), weights="w"), "^weights"),
    "images": (lambda s: mmx.encode(mmx.load_items(s / "data"), "toy", images=s), "^images"),
    "work": (lambda s: mmx.encode(s / "data", "toy", s / "a.parquet", work=s), "^--work"),
    "no such option": (lambda s: mmx.encode(s / "data", "toy", size=3), "no option --size"),
    "split": (lambda s: mmx.evaluate(s / "runs/knn", "train"), "^--split train"),
    "at": (lambda s: mmx.evaluate(s / "runs/knn", at=0), "^--at 0"),
    "no at": (lambda s: mmx.evaluate(s / "runs/knn", at=[]), "^--at is empty"),
    "tail": (lambda s: mmx.evaluate(s / "runs/knn", tail=-1), "^--tail -1"),
    "half a tail": (lambda s: mmx.evaluate(s / "runs/knn", tail=0.5), "^--tail 0.5"),
    "cold": (lambda s: mmx.evaluate(s / "runs/knn", tail=3, cold=True), "^--cold"),
    "k": (lambda s: mmx.top_k(s / "runs/knn", "u1", k=0), "^--k 0"),
    "both": (lambda s: mmx.top_k(s / "runs/knn", "u1", items_from=["i1"]), "^users and items_from"),
}


@pytest.mark.parametrize(("call", "words"), REFUSED.values(), ids=REFUSED)
def test_refused(shop: Path, call: Any, words: str) -> None:
    with pytest.raises(mmx.OptionError, match=words):
        call(shop)


def test_evaluate_is_what_the_run_says(shop: Path) -> None:
    run = mmx.open_run(shop / "runs/knn")
    for split in ("valid", "test"):
        for given in (run, str(run.path)):
            found = mmx.evaluate(given, split, at=(20, 5, 5)).means
            stored = {name: run.metrics[split][name] for name in found}
            assert found == pytest.approx(stored, nan_ok=True)
    assert {name.partition("@")[2] for name in mmx.evaluate(run, at=7).means} == {"7"}


def test_top_k(shop: Path) -> None:
    run = mmx.open_run(shop / "runs/knn")
    users = run.data.users.ids.to_pylist()
    everyone = mmx.top_k(run, k=2, seen="none")
    assert everyone["user_id"].unique().to_pylist() == users
    for given in (users[0], [users[0]]):
        assert mmx.top_k(run.path, given, 2, seen="none").equals(everyone.slice(0, 2))
    new = mmx.top_k(run, items_from=["i1"], exclude=["i2"])
    assert new["user_id"].null_count == len(new)
    assert not {"i1", "i2"} & {*new["item_id"].to_pylist()}


def test_lines_go_to_the_log(
    shop: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    job = mmx.TrainJob(shop / "data", "itemknn", split=mmx.SplitRule(k_core=2))
    with caplog.at_level(logging.INFO, logger="mmx"):
        mmx.fit(job, tmp_path / "a")
        mmx.encode(shop / "data", "toy", tmp_path / "a.parquet")
    said = [(record.name, record.levelname) for record in caplog.records]
    assert said
    assert {*said} == {("mmx", "INFO")}
    assert capfd.readouterr() == ("", "")


def test_the_options_of_encoders_are_typed() -> None:
    assert EncoderOptions.__annotations__.keys() == {*OPTIONS}
