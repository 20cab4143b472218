"""``--end-to-end`` as a job: what the run keeps, and that a killed one continues."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from mmx.cache.store import open_store
from mmx.data.dataset import load_items
from mmx.errors import OptionError
from mmx.extract.encoders import open_encoder
from mmx.recommend import checkpoint
from mmx.recommend.end_to_end import EndToEndJob, EndToEndOptions
from mmx.recommend.fit import fit
from mmx.recommend.job import TrainJob
from mmx.recommend.options import TrainOptions, TrainProgress
from mmx.recommend.run import Run, open_run
from mmx.sample.catalogue import write_sample


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sample")
    write_sample(directory, items=36, users=30, seed=3)
    return directory


def job(data: Path, model: str = "vbpr", epochs: int = 2, **options: object) -> TrainJob:
    chosen = EndToEndOptions(encoder_lr=1e-3, chunk=16)
    return TrainJob(
        data,
        model,
        end_to_end=EndToEndJob("clip:mini", pixels=data / "pixels",
                               options=replace(chosen, **options)),  # type: ignore[arg-type]
        training=TrainOptions(epochs=epochs, lr=5e-3, batch_size=128),
    )  # fmt: skip


def encoder_of(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.path / "encoder" / "model.safetensors")


def pretrained() -> dict[str, torch.Tensor]:
    model = open_encoder("clip:mini").model  # type: ignore[attr-defined]
    return dict(model.state_dict())


def test_the_run_keeps_the_encoder_it_trained_and_its_embeddings(
    data: Path, tmp_path: Path
) -> None:
    run = fit(job(data), tmp_path / "run")
    trained, before = encoder_of(run), pretrained()
    assert trained.keys() == before.keys()
    assert any(not torch.equal(trained[name], before[name]) for name in trained)
    store = open_store(run.path / "features.parquet")
    ids = load_items(data).ids
    images, known = store.vectors("image", ids)
    assert known.sum() == 36  # the sample of 36 items leaves none without a picture
    again = open_encoder("clip:mini", weights=run.path / "encoder")
    assert store.card.parameters_sha256 == again.card.parameters_sha256
    assert store.card.parameters_sha256 != open_encoder("clip:mini").card.parameters_sha256
    assert np.allclose(np.linalg.norm(images[known], axis=1), 1, atol=1e-5)
    assert run.config["end_to_end"]["encoder"] == "clip:mini"
    assert not any(name.startswith("encoder") for name in load_file(run.path / "model.safetensors"))
    assert open_run(tmp_path / "run").metrics == run.metrics
    assert "encoder/model.safetensors" in run.config["sha256"]


def test_shuffled_tables_give_the_same_run(data: Path, tmp_path: Path) -> None:
    """An item's picture, text and number stay together, wherever its row is."""
    other = tmp_path / "shuffled"
    shutil.copytree(data, other)
    for name in ("items", "interactions"):
        (path,) = other.glob(f"{name}.*")
        table = pq.read_table(path)
        rows = np.random.default_rng(1).permutation(table.num_rows)
        pq.write_table(table.take(pa.array(rows)), path)
    runs = [fit(job(d, epochs=1), tmp_path / d.name / "run") for d in (data, other)]
    assert runs[0].metrics == runs[1].metrics
    trained = [encoder_of(run) for run in runs]
    assert all(torch.equal(trained[0][name], trained[1][name]) for name in trained[0])
    assert load_items(other).ids != load_items(data).ids
    assert runs[0].items["text"].equals(runs[1].items["text"])
    stores = [open_store(run.path / "features.parquet") for run in runs]
    vectors = [store.vectors("image", load_items(data).ids)[0] for store in stores]
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-5)


def test_vectors_that_change_are_not_turned_to_axes(data: Path, tmp_path: Path) -> None:
    chosen = replace(job(data, "slmrec", epochs=1), settings=["components=8"])
    run = fit(chosen, tmp_path / "run")
    assert run.config["settings"]["components"] == 0
    assert load_file(run.path / "model.safetensors")["channels.project.image"].shape == (64, 96)


def test_the_encoder_of_the_best_epoch_is_written(data: Path, tmp_path: Path) -> None:
    """Not the one that training ended with."""
    joint = job(data).end_to_end
    assert joint is not None
    items = load_items(data)
    catalogue = joint.open(items, np.arange(len(items)), "cpu", 0, lambda line: None)
    best = {name: value + 0.01 for name, value in pretrained().items()}
    joint.write(tmp_path, catalogue, best)
    written = load_file(tmp_path / "encoder" / "model.safetensors")
    assert all(torch.equal(written[name], value) for name, value in best.items())


def test_refresh_epoch_leaves_the_encoder_bit_for_bit(data: Path, tmp_path: Path) -> None:
    """And lists are kept beside it."""
    plain = job(data, refresh="epoch")
    kept = replace(plain, training=replace(plain.training, keep_lists=2))
    run = fit(kept, tmp_path / "run")
    assert pq.read_table(run.path / "lists.parquet")["rank"].unique().to_pylist() == [1, 2]
    trained, before = encoder_of(run), pretrained()
    assert all(torch.equal(trained[name], before[name]) for name in before)


def test_lora_trains_along(data: Path, tmp_path: Path) -> None:
    run = fit(job(data, tune="lora", epochs=1), tmp_path / "run")
    trained, before = encoder_of(run), pretrained()
    moved = {name for name in before if not torch.equal(trained[name], before[name])}
    assert trained.keys() == before.keys()
    assert moved
    assert all(name.endswith(".weight") or name == "logit_scale" for name in moved)


@pytest.mark.slow
def test_a_killed_run_ends_in_the_same_weights(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    whole = fit(job(data, epochs=3), tmp_path / "whole")

    def killed(state: TrainProgress) -> None:
        if state.epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(job(data, epochs=3), tmp_path / "cut", progress=killed)
    assert list(tmp_path.glob(".cut.*.checkpoint"))
    rest: list[int] = []
    cut = fit(job(data, epochs=3), tmp_path / "cut", progress=lambda p: rest.append(p.epoch))
    assert rest == [3]
    a, b = encoder_of(whole), encoder_of(cut)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert np.array_equal(whole.scorer.items, cut.scorer.items)  # type: ignore[attr-defined]


def test_what_cannot_train_an_encoder_is_refused(data: Path, tmp_path: Path) -> None:
    for model in ("bpr", "ease", "itemknn-cbf"):
        with pytest.raises(OptionError, match="--end-to-end takes vbpr"):
            fit(job(data, model), tmp_path / "run")
