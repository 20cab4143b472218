"""Every option of a run is one of the job that repeats it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mmx.data.csvs.format import CsvFormat
from mmx.data.splits import SplitRule
from mmx.errors import RunError
from mmx.recommend.fit import fit
from mmx.recommend.job import TrainJob
from mmx.recommend.options import TrainOptions
from mmx.recommend.repeat import repeat
from tests.catalogue import random_log

OPTIONS = TrainOptions(
    epochs=2, batch_size=32, lr=0.02, lr_decay=0.9, clip=1.5, patience=1, mirror_gradient=0.1,
    mirror_every=2, eval_every=2, negatives="popularity", precision="bfloat16", seed=3,
    device="cpu", keep_lists=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> TrainJob:
    """None of its options is the default; the log names an item that the table lacks."""
    data = tmp_path_factory.mktemp("data")
    (data / "items.csv").write_text("item_id;text\n" + "".join(f"i{n};é\n" for n in range(12)),
                                    encoding="latin-1")  # fmt: skip
    log = [*random_log(15, 12, 6), ("u1", "gone")]
    rows = "".join(f"{user};{item};{1 + n % 5}\n" for n, (user, item) in enumerate(log))
    (data / "interactions.csv").write_text(f"user_id;item_id;rating\n{rows}")
    rule = SplitRule("random", min_rating=2, k_core=1, folds=3, fold=2, seed=5)
    return TrainJob(data, "bpr", settings=["dim=4"], split=rule, unknown_items="drop",
                    csv=CsvFormat("latin-1", ";"), training=OPTIONS)  # fmt: skip


@pytest.fixture(scope="module")
def run(job: TrainJob) -> Path:
    return fit(job, Path(job.data) / "run").path


def test_they_are_the_same(job: TrainJob, run: Path) -> None:
    again = repeat(run)
    for name in ("model", "split", "unknown_items", "csv", "training"):
        assert getattr(again, name) == getattr(job, name), name
    assert str(again.data) == str(job.data)
    assert "dim=4" in again.settings


def test_another_number_of_folds_has_another_fold(run: Path) -> None:
    said: list[str] = []
    job = repeat(run, folds=5, log=said.append)
    assert (job.split.folds, job.split.fold) == (5, SplitRule("random", folds=5).fold)
    assert said == ["--folds 5 instead of 3", "--fold of the run is left out: 2"]


def test_a_url_that_the_command_names_may_be_opened(run: Path) -> None:
    assert str(repeat(run, data="s3://bucket/data").data) == "s3://bucket/data"


def test_other_ratings_are_other_interactions(job: TrainJob, run: Path, tmp_path: Path) -> None:
    """Though as many are high enough."""
    data = shutil.copytree(job.data, tmp_path / "data")
    config = json.loads((run / "config.json").read_text()) | {"data": str(data)}
    (tmp_path / "config.json").write_text(json.dumps(config))
    log = (data / "interactions.csv").read_text()
    (data / "interactions.csv").write_text(log.replace(";4\n", ";5\n", 1))
    with pytest.raises(RunError, match="interactions: other values of rating; give what it was"):
        fit(repeat(tmp_path / "config.json"), tmp_path / "again")
