"""Fine-tuning and training end to end on a GPU."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mmx.data.dataset import Items, load_items
from mmx.extract.encoder import Encoder
from mmx.extract.encoders import open_encoder
from mmx.extract.finetune import FinetuneOptions, FinetuneProgress, finetune
from mmx.extract.finetune.options import OBJECTIVES
from mmx.recommend.end_to_end import EndToEndJob, EndToEndOptions
from mmx.recommend.fit import fit
from mmx.recommend.job import TrainJob
from mmx.recommend.options import TrainOptions
from mmx.sample.catalogue import write_sample
from tests.devices.small_tuning import OPTIONS, files
from tests.gpu import GPU

pytestmark = GPU


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Items:
    directory = tmp_path_factory.mktemp("sample")
    write_sample(directory, items=40, users=16, seed=3)
    return load_items(directory)


def losses(
    items: Items, encoder: Encoder, out: Path, processes: int = 0, **options: Any
) -> list[float]:
    """The mean loss of each epoch."""
    seen: list[FinetuneProgress] = []
    chosen = FinetuneOptions(**{"epochs": 3, "batch_size": 16, "chunk": 8, "lr": 1e-3, **options})
    finetune(
        items, encoder, out, chosen, pixels=out.parent / "pixels", progress=seen.append,
        decode_processes=processes,
    )  # fmt: skip
    return [state.row["loss"] for state in seen]


@pytest.mark.parametrize("processes", [0, 2])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_objective_of_vlmo(objective: str, processes: int, items: Items, tmp_path: Path) -> None:
    path, words = files(tmp_path)
    encoder = open_encoder("vlmo", weights=path, tokenizer=words, device="cuda")
    found = losses(items, encoder, tmp_path / "run", processes, objectives=(objective,))
    assert all(map(math.isfinite, found))


@pytest.mark.parametrize("how", OPTIONS)
def test_however_clip_is_trained(how: str, items: Items, tmp_path: Path) -> None:
    encoder = open_encoder("clip:mini", device="cuda")
    found = losses(items, encoder, tmp_path / "run", **OPTIONS[how])
    assert all(map(math.isfinite, found))


def test_the_first_loss_is_that_of_the_cpu(items: Items, tmp_path: Path) -> None:
    found = [
        losses(items, open_encoder("clip:mini", device=device), tmp_path / device, augment=False)[0]
        for device in ("cpu", "cuda")
    ]
    assert found[1] == pytest.approx(found[0], rel=1e-3)


@pytest.mark.parametrize("refresh", ["batch", "epoch"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_end_to_end(refresh: str, precision: str, items: Items, tmp_path: Path) -> None:
    joint = EndToEndOptions(encoder_lr=1e-3, chunk=8, refresh=refresh)
    job = TrainJob(
        items.directory, "vbpr",
        end_to_end=EndToEndJob("clip:mini", pixels=tmp_path / "pixels", options=joint),
        training=TrainOptions(epochs=2, batch_size=64, device="cuda", precision=precision),
    )  # fmt: skip
    fit(job, tmp_path / "run")
    found = pq.read_table(tmp_path / "run" / "history.parquet")["loss"].to_pylist()
    assert len(found) == 2
    assert all(map(math.isfinite, found))
