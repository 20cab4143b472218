"""Training, evaluation and lists of whole runs on a device equal those of the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

import mmx.devices
from mmx.errors import OptionError
from mmx.recommend.features import FeatureSpec
from mmx.recommend.fit import fit
from mmx.recommend.job import TrainJob
from mmx.recommend.models import bpr
from mmx.recommend.options import TrainOptions
from mmx.recommend.protocol import World
from mmx.recommend.recommend_options import RecommendOptions
from mmx.recommend.recommendation import recommend_all
from mmx.recommend.run import open_run
from mmx.recommend.training import train
from mmx.testing import clubs
from tests.devices.fake_cuda import FakeCuda
from tests.devices.there import CUDA, here, small
from tests.recommend.short_training import log

KEPT = Path(__file__).parents[1] / "recommend/fixtures"


def trained(device: str) -> list[dict[str, float]]:
    data = log()
    model = bpr.Model(bpr.Config(dim=8), World(data.train), torch.Generator().manual_seed(0))
    options = TrainOptions(epochs=3, batch_size=128, lr=0.01, device=device)
    with small() as used:
        found = train(model, data, options)
    assert set(used) == ({"cuda:0"} if device == CUDA else set())
    assert len(used) == (3 if device == CUDA else 0)
    assert found.scorer.device == ("cuda:0" if device == CUDA else "cpu")
    return [{name: v for name, v in row.items() if "seconds" not in name} for row in found.history]


def test_validation_of_an_epoch_is_the_same_on_a_gpu() -> None:
    expected = trained("cpu")
    with FakeCuda() as gpu:
        found = trained(CUDA)
    assert gpu.mixed == []
    assert found == expected


def test_a_whole_run_ranks_and_mines_its_graph_there(tmp_path: Path) -> None:
    place = clubs.write_place(tmp_path)
    runs = []
    for device in ("cpu", CUDA):
        with small() as used, here(device):
            options = TrainOptions(epochs=1, batch_size=1024, device=device)
            job = TrainJob(place.data, "freedom", [FeatureSpec(place.store)], ["dim=8"],
                           training=options)  # fmt: skip
            runs.append(fit(job, tmp_path / f"run-{device.partition(':')[0]}"))
        both, lists = used.count("cuda"), used.count("cuda:0")  # graphs, and splits
        assert (both, lists) == ((2, 3) if device == CUDA else (0, 0))
    for name, value in runs[0].metrics["test"].items():
        assert runs[1].metrics["test"][name] == pytest.approx(value, abs=1e-6)


def test_an_opened_run_evaluates_and_recommends_there() -> None:
    run = open_run(KEPT / "old-vbpr")
    lists = pa.concat_tables(recommend_all(run, RecommendOptions(k=5)))
    expected = mmx.evaluate(run)
    with small() as used, here(CUDA):
        placed = open_run(KEPT / "old-vbpr", device=CUDA)
        found = pa.concat_tables(recommend_all(placed, RecommendOptions(k=5)))
        measured = mmx.evaluate(run.on("auto"))
        assert placed.on("cpu").scorer.device == "cpu"  # type: ignore[attr-defined]
    assert used == ["cuda"] * 2
    assert found.drop_columns(["score"]) == lists.drop_columns(["score"])
    np.testing.assert_allclose(found["score"], lists["score"], rtol=1e-5, atol=1e-6)
    assert measured.means == expected.means


def test_a_run_without_embeddings_has_nothing_for_a_gpu() -> None:
    run = open_run(KEPT / "old-itemknn")
    with FakeCuda():
        assert run.on("auto") is run
        with pytest.raises(OptionError, match=r"--device cuda: .*old-itemknn has no embeddings"):
            run.on("cuda")
