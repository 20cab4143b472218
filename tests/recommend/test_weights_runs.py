"""Weights from a dataset to a run, and what cannot go by them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmx.data.splits import SplitRule
from mmx.errors import MmxError, OptionError, RunError
from mmx.recommend.api import evaluate, top_k
from mmx.recommend.fit import fit
from mmx.recommend.fuse import fuse
from mmx.recommend.inputs import load_inputs
from mmx.recommend.job import TrainJob
from mmx.recommend.options import TrainOptions
from mmx.recommend.protocol import ClosedModel, Facts, World
from mmx.recommend.run import Run, open_run
from mmx.recommend.scoring import Factors
from tests.catalogue import random_log, write_interactions, write_items


def folder_with(place: Path, weight: list[float] | None, users: int = 24) -> Path:
    pairs = random_log(users, 16, 6)
    write_items(place, [{"item_id": f"i{n}", "text": "a"} for n in range(16)])
    times = list(range(len(pairs)))
    more = {} if weight is None else {"weight": (weight * len(pairs))[: len(pairs)]}
    write_interactions(place, pairs, timestamp=times, **more)
    return place


def fitted(data: Path, out: Path, model: Any = "ease", **job: Any) -> Run:
    options = TrainOptions(epochs=2) if model == "bpr" else TrainOptions()
    return fit(TrainJob(data, model, training=options, **job), out, log=lambda line: None)


@pytest.mark.parametrize("model", ["ease", "bpr"])
def test_a_run_keeps_its_weights(tmp_path: Path, model: str) -> None:
    data = folder_with(tmp_path / "data", [1.0, 3.0, 10.0])
    made = fitted(data, tmp_path / "run", model)
    again = open_run(made.path)
    assert again.config["weights"] == "honoured"
    assert again.data.train.weights is not None
    assert set(again.data.train.weights) == {1.0, 3.0, 10.0}
    assert evaluate(again).means == again.metrics["test"]
    ignoring = fitted(data, tmp_path / "ignoring", model, ignore_weights=True)
    without = fitted(folder_with(tmp_path / "bare", None), tmp_path / "without", model)
    assert ignoring.config["weights"] == "ignored"
    assert "weights" not in without.config
    ones = fitted(folder_with(tmp_path / "ones", [1.0]), tmp_path / "of-ones", model)
    files = [(r.path / "model.safetensors").read_bytes() for r in (ignoring, without, ones)]
    assert files[0] == files[1] == files[2] != (made.path / "model.safetensors").read_bytes()
    assert "weight" not in pq.read_table(ignoring.path / "interactions.parquet").column_names
    assert len(top_k(again, items_from=["i1", "i2"], k=3)) == 3
    with pytest.raises(RunError, match="ignore-weights"):
        fuse([again, ignoring], tmp_path / "fused")


def test_a_fusion_keeps_them_and_held_out_users_have_theirs(tmp_path: Path) -> None:
    data = folder_with(tmp_path / "data", [1.0, 3.0, 10.0])
    runs = [
        fitted(data, tmp_path / model, model, split=SplitRule("users"))
        for model in ("ease", "ials", "bpr")
    ]
    for one in runs:
        again = open_run(one.path)
        assert again.data.fold_in is not None
        assert again.data.fold_in.weights is not None
        assert evaluate(again).means == again.metrics["test"]
        known = np.arange(len(again.data.users))
        np.testing.assert_array_equal(again.scorer.scores(known), one.scorer.scores(known))
    fused = open_run(fuse(runs, tmp_path / "fused").path)
    assert evaluate(fused).means == fused.metrics["test"]


def test_another_weight_is_another_job(tmp_path: Path) -> None:
    found = set()
    for number, weight in enumerate(([1.0, 3.0], [1.0, 4.0], None)):
        job = TrainJob(folder_with(tmp_path / str(number), weight), "bpr")
        inputs = load_inputs(job, job.record, "cpu", lambda line: None, tmp_path)
        found.add(inputs.digest({}))
    assert len(found) == 3


@dataclass(frozen=True)
class Config:
    """None."""


class Blind(ClosedModel):
    """Every item alike."""

    def fit(self, config: Any, world: World) -> Factors:
        ones = (np.ones((n, 1), np.float32) for n in (world.n_users, world.n_items))
        return Factors(*ones)


class Seeing(Blind):
    """The same."""

    facts = Facts(weights=True)


def test_what_cannot_honour_them_refuses_and_names_the_way(tmp_path: Path) -> None:
    data = folder_with(tmp_path / "data", [1.0, 3.0])
    with pytest.raises(OptionError, match=r"does not read the weights .* --ignore-weights"):
        fitted(data, tmp_path / "run", Blind)
    assert not (tmp_path / "run").exists()
    fitted(data, tmp_path / "run", Blind, ignore_weights=True)
    fitted(data, tmp_path / "seeing", Seeing)
    with pytest.raises(OptionError, match="no column weight; drop --ignore-weights"):
        fitted(folder_with(tmp_path / "bare", None), tmp_path / "no", ignore_weights=True)


def test_a_run_with_a_damaged_weight_is_broken(tmp_path: Path) -> None:
    made = fitted(folder_with(tmp_path / "data", [1.0, 3.0]), tmp_path / "run", "popularity")
    path = made.path / "interactions.parquet"
    found = pq.read_table(path)
    place = found.column_names.index("weight")
    pq.write_table(found.set_column(place, "weight", pa.array([-1.0] * len(found))), path)
    with pytest.raises(MmxError, match=r"broken.*weight"):
        open_run(made.path)
    assert json.loads((made.path / "config.json").read_text())["weights"] == "honoured"
