"""Objectives of fine-tuning, and training end to end, stay on their device and wait nowhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from mmx.cache.store import open_store
from mmx.data.dataset import Items, load_items
from mmx.extract.encoder import Encoder
from mmx.extract.encoders import open_encoder
from mmx.extract.encoders.hardware import Hardware
from mmx.extract.finetune import FinetuneOptions, FinetuneProgress, ahead, finetune
from mmx.extract.finetune.ahead import Ahead, Share
from mmx.extract.finetune.loop import TuneSteps
from mmx.extract.finetune.objective import Objective
from mmx.extract.finetune.options import OBJECTIVES
from mmx.extract.finetune.pairs import DrawnBatch
from mmx.recommend.end_to_end import EndToEndJob, EndToEndOptions
from mmx.recommend.fit import fit
from mmx.recommend.job import TrainJob
from mmx.recommend.options import TrainOptions
from mmx.recommend.training import TrainSteps
from mmx.sample.catalogue import write_sample
from tests.devices.fake_cuda import FakeCuda
from tests.devices.small_tuning import OPTIONS, files

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Items:
    directory = tmp_path_factory.mktemp("sample")
    write_sample(directory, items=20, users=16, seed=3)
    return load_items(directory)


@pytest.fixture(scope="module")
def vlmo(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Encoder]:
    path, words = files(tmp_path_factory.mktemp("vlmo"))
    return lambda: open_encoder("vlmo", weights=path, tokenizer=words, device="cuda")


def clip() -> Encoder:
    return open_encoder("clip:mini", device="cuda")


@contextmanager
def waiting(steps: type[Any], gpu: FakeCuda) -> Iterator[list[str]]:
    """What the steps of a training wait for, within."""
    found: list[str] = []
    step = steps._step

    def watched(self: Any, *given: Any) -> Any:
        before = len(gpu.waits)
        result = step(self, *given)
        found.extend(gpu.waits[before:])
        return result

    with mock.patch.object(steps, "_step", watched):
        yield found


def mixed(
    items: Items, opened: Callable[[], Encoder], out: Path, *, stop: bool = False,
    processes: int | None = 0, **options: Any,
) -> list[str]:  # fmt: skip
    """What one epoch of two steps would fail at on a GPU, and wait for, and leave on the CPU."""

    def progress(state: FinetuneProgress) -> None:
        if stop:
            raise KeyboardInterrupt

    chosen = FinetuneOptions(**{"epochs": 1, "batch_size": 9, "chunk": 5, "lr": 1e-3, **options})
    with FakeCuda() as gpu, waiting(TuneSteps, gpu) as waits:
        encoder: Any = opened()
        try:
            finetune(items, encoder, out, chosen, pixels=out.parent / "pixels", progress=progress,
                     decode_processes=processes)  # fmt: skip
        except KeyboardInterrupt:
            assert stop
        held = [*encoder.model.named_parameters(), *encoder.model.named_buffers()]
        return gpu.mixed + waits + [name for name, tensor in held if not tensor.is_cuda]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_objective_stays_on_its_device(
    objective: str, items: Items, vlmo: Callable[[], Encoder], tmp_path: Path
) -> None:
    assert mixed(items, vlmo, tmp_path / "vlmo", objectives=(objective,)) == []


@pytest.mark.parametrize("objective", ["itc", "co-interaction"])  # itm and mlm are VLMo's
def test_so_does_one_of_clip(objective: str, items: Items, tmp_path: Path) -> None:
    assert mixed(items, clip, tmp_path / "clip", objectives=(objective,)) == []


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("planted", ["loss", "pixels"])
def test_what_waits_is_seen(
    planted: str, objective: str, items: Items, vlmo: Callable[[], Encoder], tmp_path: Path
) -> None:
    loss, mark = Objective.loss, Hardware.mark

    def read(self: Objective, drawn: DrawnBatch) -> torch.Tensor:
        found = loss(self, drawn)
        assert not found.isnan()
        return found

    def at_once(self: Hardware) -> None:
        mark(self).synchronize()  # type: ignore[union-attr]

    owner, what, put = (
        (Objective, "loss", read) if planted == "loss" else (Hardware, "mark", at_once)
    )
    with mock.patch.object(owner, what, put):
        lines = mixed(items, vlmo, tmp_path / "vlmo", objectives=(objective,))
    said = {"loss": "_local_scalar_dense at extract/finetune/loop.py", "pixels": "the last mark at"}
    assert [line.startswith(said[planted]) for line in lines] == [True] * len(lines)
    assert len(lines) == {"loss": 2, "pixels": 1}[planted]  # the last pixels are read after all


@pytest.mark.parametrize("how", OPTIONS)
def test_however_it_is_trained(
    how: str, items: Items, vlmo: Callable[[], Encoder], tmp_path: Path
) -> None:
    assert mixed(items, vlmo, tmp_path / "vlmo", objectives=OBJECTIVES, **OPTIONS[how]) == []
    assert mixed(items, clip, tmp_path / "clip", **OPTIONS[how]) == []


def test_a_resumed_one(items: Items, vlmo: Callable[[], Encoder], tmp_path: Path) -> None:
    out = tmp_path / "run"
    for stop in (True, False):
        chosen = {"epochs": 2, "objectives": OBJECTIVES, "stop": stop}
        assert mixed(items, vlmo, out, **chosen) == []
        assert out.exists() is not stop


def test_one_whose_pictures_are_augmented_beside_it(
    items: Items, vlmo: Callable[[], Encoder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default, since there is a GPU; its memory is page-locked while it is used."""
    locked, start = [], Ahead._start

    def started(self: Ahead, *given: Any) -> Any:
        found = start(self, *given)
        while len(self._forks.ready) < 2:  # type: ignore[union-attr]
            self._listen(0.1)
        return found

    @contextmanager
    def lock(self: Hardware, pixels: np.ndarray) -> Iterator[None]:
        locked.append(pixels.shape)
        yield
        locked.append(None)

    def never(share: Share) -> None:
        raise AssertionError("augmented in this process")

    monkeypatch.setattr(Ahead, "_start", started)
    monkeypatch.setattr(Hardware, "page_locked", lock)
    monkeypatch.setattr(ahead, "cores", lambda: 3)
    monkeypatch.setattr(Share, "make", never)
    assert mixed(items, vlmo, tmp_path / "run", objectives=OBJECTIVES, processes=None) == []
    assert locked == [(9, 48, 48, 3)] * 4 + [None] * 4  # pairs and partners of two batches


@pytest.mark.parametrize("encoder", ["clip:mini", "vlmo"])
@pytest.mark.parametrize("refresh", ["batch", "epoch"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_end_to_end(
    refresh: str, precision: str, encoder: str, items: Items, tmp_path: Path
) -> None:
    joint = EndToEndOptions(encoder_lr=1e-3, chunk=8, refresh=refresh)
    given = files(tmp_path) if encoder == "vlmo" else ()
    job = TrainJob(
        items.directory, "vbpr",
        end_to_end=EndToEndJob(encoder, *given, pixels=tmp_path / "pixels", options=joint),
        training=TrainOptions(epochs=1, batch_size=64, device="cpu", precision=precision),
    )  # fmt: skip
    with FakeCuda() as gpu, waiting(TrainSteps, gpu) as waits:
        chosen = replace(job.training, device="cuda")
        fit(replace(job, training=chosen), tmp_path / "run")
        assert gpu.mixed == waits == []
    assert open_store(tmp_path / "run" / "features.parquet").rows == len(items)
