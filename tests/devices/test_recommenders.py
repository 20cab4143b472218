"""Every recommender trains on one device: none of its tensors stays on another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from mmx.recommend import checkpoint
from mmx.recommend.features import FeatureSpec
from mmx.recommend.fit import fit
from mmx.recommend.job import TrainJob
from mmx.recommend.models import MODELS, mmgcl
from mmx.recommend.new_items import with_new_items
from mmx.recommend.options import TrainOptions, TrainProgress
from mmx.recommend.recommend_options import RecommendOptions
from mmx.recommend.recommendation import recommend
from mmx.recommend.training import train
from mmx.testing import clubs
from tests.devices.fake_cuda import FakeCuda
from tests.devices.small_models import DATA, TRAINED, made
from tests.recommend.fake_catalogue import build
from tests.recommend.odd_worlds import WORLDS, fitted
from tests.recommend.toy import toy_data


def mixed(name: str, path: Path | None = None, epochs: int = 1, **options: Any) -> list[str]:
    """What a training on a GPU would fail at, and what of the model is left on the CPU."""
    with FakeCuda() as gpu:
        model = made(name)
        chosen = TrainOptions(epochs=epochs, batch_size=64, device="cuda", **options)
        train(model, DATA, chosen, checkpoint=path)
        held = [*model.named_parameters(), *model.named_buffers()]
        return gpu.mixed + [name for name, tensor in held if not tensor.is_cuda]


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", TRAINED)
def test_training_stays_on_its_device(name: str, precision: str) -> None:
    assert mixed(name, precision=precision) == []


@pytest.mark.parametrize("name", TRAINED)
def test_a_catalogue_of_few_items_too(name: str) -> None:
    """Graphs of similar items then have more entries than places."""
    with FakeCuda() as gpu:
        fitted(MODELS[name], replace(WORLDS["two items"], options={"device": "cuda"}), {})
        assert gpu.mixed == []


@pytest.mark.parametrize("name", ["bpr", "bm3", "mmgcl", "lattice"])
def test_mirror_gradient_and_a_resumed_training_too(name: str, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    with mock.patch.object(checkpoint, "EVERY", 0.0):
        assert mixed(name, path, mirror_gradient=0.1, mirror_every=1, clip=1.0) == []
        assert path.exists()
        assert mixed(name, path, epochs=2, mirror_gradient=0.1, mirror_every=1, clip=1.0) == []


@pytest.mark.parametrize("end_to_end", [False, True])
def test_a_continued_training_goes_on_drawing(end_to_end: bool, tmp_path: Path) -> None:
    """From the generator that is on the GPU: the losses are those of a straight training."""

    def losses(path: Path | None, stop: int = 0) -> list[float]:
        def progress(state: TrainProgress) -> None:
            if state.epoch == stop:
                raise InterruptedError

        with FakeCuda():
            model = build("bm3", chunk=4)[0] if end_to_end else made("bm3")
            data = toy_data() if end_to_end else DATA
            chosen = TrainOptions(epochs=4, batch_size=64, device="cuda")
            return [row["loss"] for row in train(model, data, chosen, progress, path).history]

    path = tmp_path / "checkpoint"
    with mock.patch.object(checkpoint, "EVERY", 0.0), pytest.raises(InterruptedError):
        losses(path, stop=3)
    assert path.exists()
    assert losses(path) == losses(None)


@pytest.mark.parametrize("control", [None, "shuffle"])
def test_a_whole_run_its_control_and_items_that_came_later(
    control: str | None, tmp_path: Path
) -> None:
    """From a store to a run's files; for new items the model is built again, on the CPU."""
    place = clubs.write_place(tmp_path)
    items = [i for i in clubs.item_ids() if i not in clubs.COLD]
    pq.write_table(pa.table({"item_id": items}), tmp_path / "items.parquet")
    with FakeCuda() as gpu:
        options = TrainOptions(epochs=1, batch_size=1024, device="cuda")
        job = TrainJob(
            place.data, "vbpr", [FeatureSpec(place.store)], ["dim=8"], training=options,
            control=control,
        )  # fmt: skip
        run = fit(job, tmp_path / "run")
        recommend(run, ["c1-u0"], RecommendOptions(k=5))
        if control is None:
            more = with_new_items(run, place.store)
            assert len(more.items) == len(items) + len(clubs.COLD)
        assert gpu.mixed == []


def test_what_stays_behind_is_seen() -> None:
    """A mistake of the kind that only a GPU shows: what is drawn on the CPU is left there."""
    draw = mmgcl.Model.draw

    def left(self: mmgcl.Model) -> mmgcl.Draws:
        return mmgcl.Draws(
            *(v.cpu() if isinstance(v, torch.Tensor) else v for v in vars(draw(self)).values())
        )

    with mock.patch.object(mmgcl.Model, "draw", left):
        assert any("models/mmgcl.py" in line or "blocks/" in line for line in mixed("mmgcl"))
