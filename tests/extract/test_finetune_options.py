"""Augmentation, accumulation, checkpointing, bfloat16 and several processes in fine-tuning."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mmx.data.dataset import Items
from mmx.errors import OptionError
from mmx.extract.encoders import open_encoder
from mmx.extract.finetune import FinetuneOptions, finetune, loop, tune_encoder
from mmx.extract.finetune.losses import co_interaction, itc
from mmx.extract.finetune.pairs import PairBatch
from mmx.extract.finetune.trainable import unit
from mmx.extract.pictures.augment import CLIP, VLMO, Augmentation
from mmx.processes import Processes
from tests.extract.augmentations import small_items
from tests.extract.tiny_objective import QUICK, objective


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Items:
    return small_items(tmp_path_factory.mktemp("sample"))


def gradients(items: Items, **options: object) -> dict[str, torch.Tensor]:
    found = objective(items, **options)
    found.loss(found.draw(torch.from_numpy(found.pairs.train[:12]))).backward()
    return {n: p.grad for n, p in found.trainable.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("how", [CLIP, VLMO])
def test_augmentation_follows_its_seed(how) -> None:  # type: ignore[no-untyped-def]
    pictures = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), np.uint8)
    )
    seeds = torch.arange(20)
    once, twice, other = how(pictures, seeds), how(pictures, seeds), how(pictures, seeds + 100)
    assert once.shape == pictures.shape
    assert once.dtype == torch.uint8
    assert torch.equal(once, twice)
    assert torch.equal(once[3:5], how(pictures[3:5], seeds[3:5]))
    assert not torch.equal(once, other)


@pytest.mark.parametrize("how", [CLIP, VLMO])
def test_augmentation_is_the_same_on_any_threads_and_in_bfloat16(how: Augmentation) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (24, 224, 224, 3), np.uint8)
    seeds, found = torch.arange(24), []
    before = torch.get_num_threads()
    try:
        for threads, half in ((1, False), (3, False), (1, True)):
            torch.set_num_threads(threads)
            with torch.autocast("cpu", torch.bfloat16, half):
                found.append(how(torch.from_numpy(pictures), seeds))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_a_crop_keeps_at_least_its_share() -> None:
    """A picture whose left half is black: 90 % of the area cannot be all black or all white."""
    picture = torch.zeros(1, 40, 40, 3, dtype=torch.uint8)
    picture[:, :, 20:] = 255
    for seed in range(50):
        white = CLIP(picture, torch.tensor([seed])).float().mean().item() / 255
        assert 0.4 < white < 0.6


def test_validation_and_no_augment_see_the_pictures_as_they_are(items: Items) -> None:
    plain, altered = objective(items, augment=False), objective(items)
    rows = torch.from_numpy(plain.pairs.train[:4])
    places = torch.arange(4)
    assert torch.equal(plain.draw(rows).pairs.pictures(places), plain.pairs.pixels(rows))
    assert not torch.equal(altered.draw(rows).pairs.pictures(places), plain.pairs.pixels(rows))


def test_chunks_and_checkpointed_blocks_give_the_same_gradients(items: Items) -> None:
    whole = gradients(items, chunk=64)
    assert len(whole) > 20
    for options in ({"chunk": 5}, {"chunk": 64, "checkpointing": True}):
        other = gradients(items, **options)
        for name, gradient in whole.items():
            torch.testing.assert_close(other[name], gradient, rtol=1e-4, atol=1e-6)


def test_bfloat16_points_the_same_way(items: Items) -> None:
    whole, half = gradients(items), gradients(items, precision="bfloat16")
    left, right = (torch.cat([g[n].flatten() for n in whole]) for g in (whole, half))
    assert not torch.equal(left, right)
    assert torch.cosine_similarity(left, right, dim=0) > 0.98


def test_accumulated_batches_make_one_step(items: Items, tmp_path: Path) -> None:
    """All batches of an epoch in one step: only one step is taken, and it is warm-up's."""
    for count in (1, 50):
        finetune(
            items, open_encoder("clip:mini"), tmp_path / str(count),
            FinetuneOptions(**{**QUICK, "epochs": 1, "accumulate": count}),  # type: ignore[arg-type]
            pixels=items.directory / "pixels",
        )  # fmt: skip
    start = dict(open_encoder("clip:mini").model.named_parameters())  # type: ignore[attr-defined]
    moved = []
    for count in (1, 50):
        tuned = load_file(tmp_path / str(count) / "model.safetensors")
        moved.append(max((tuned[n] - p).abs().max().item() for n, p in start.items()))
    assert 0 < moved[1] < 1.2 * QUICK["lr"] < moved[0]  # AdamW's first step is about lr long


def test_unknown_options_are_refused() -> None:
    with pytest.raises(OptionError, match="--precision half"):
        FinetuneOptions(precision="half")
    with pytest.raises(OptionError, match="--accumulate 0: at least 1"):
        FinetuneOptions(accumulate=0)


PROGRAM = """
import sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from mmx.data.dataset import load_items
from tests.extract.tiny_objective import objective
found = objective(load_items(Path(sys.argv[1])))
found.loss(found.draw(torch.from_numpy(found.pairs.train[:13]))).backward()
parameters = dict(found.trainable.model.named_parameters())
found.sum_gradients([p for p in parameters.values() if p.requires_grad])
if found.processes.is_main:
    save_file({n: p.grad for n, p in parameters.items() if p.grad is not None}, sys.argv[2])
found.processes.wait()
"""


@pytest.mark.slow
def test_two_processes_have_the_gradients_of_one(items: Items, tmp_path: Path) -> None:
    """Gradients, not weights: Adam forgives a factor."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--rdzv-backend=c10d"]
    launcher += ["--rdzv-endpoint=127.0.0.1:0", "--nproc-per-node"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    found = []
    for count in ("1", "2"):
        arguments = [str(items.directory), str(tmp_path / count)]
        done = subprocess.run(
            [*launcher, count, str(script), *arguments], env=environment, capture_output=True,
            text=True, timeout=180, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found.append(load_file(tmp_path / count))
    assert "logit_scale" in found[0]
    for name, one in found[0].items():
        if one.any() or found[1][name].any():
            torch.testing.assert_close(found[1][name], one, rtol=1e-3, atol=1e-6, msg=name)


def test_validation_counts_the_partners(items: Items) -> None:
    found = objective(items)
    rows, others = (torch.from_numpy(found.pairs.train[a:b]) for a, b in ((0, 5), (5, 10)))
    found.partners = SimpleNamespace(draw=lambda rows, generator: others)  # type: ignore[assignment]
    with torch.no_grad():
        images, texts, loss = found.held_out(rows)
        mine, theirs = (unit(sum(found.embed(PairBatch(found.pairs, r)))) for r in (rows, others))  # type: ignore[arg-type]
        scale = found.trainable.log_scale.exp()
        alike = found.pairs.alike(rows, others) | found.pairs.alike(others)
        expected = itc(images, texts, scale, found.pairs.alike(rows))
        expected = expected + co_interaction(mine, theirs, scale, alike)
    torch.testing.assert_close(loss, expected)


def test_a_batch_is_shared_by_no_more_processes_than_it_has_pairs(
    items: Items, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Many(Processes):
        def __init__(self, device: str) -> None:
            super().__init__(device)
            self.size = 17

        def _broadcast(self, value: object) -> object:
            return value

    monkeypatch.setattr(loop, "Processes", Many)
    options = FinetuneOptions(batch_size=16)
    said = r"17 processes of torchrun share batches of 16 pairs; start fewer, or raise --batch-size"
    with pytest.raises(OptionError, match=said):
        tune_encoder(items, open_encoder("clip:mini"), tmp_path / "run", options, pixels=tmp_path)
    assert not (tmp_path / "run").exists()
