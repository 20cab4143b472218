"""Augmentation, accumulation, checkpointing, bfloat16 and several processes in fine-tuning."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mmx.data.dataset import Items, load_items
from mmx.data.sample import write_sample
from mmx.errors import OptionError
from mmx.extract.encoders import open_encoder
from mmx.extract.finetune import FinetuneOptions, finetune
from mmx.extract.finetune.augment import CLIP, VLMO
from mmx.extract.finetune.objective import Objective
from mmx.extract.finetune.pairs import load_pairs
from mmx.extract.finetune.trainable import choose_parameters, open_trainable
from mmx.processes import Processes

QUICK = {"epochs": 2, "batch_size": 16, "chunk": 8, "lr": 1e-3}


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Items:
    directory = tmp_path_factory.mktemp("sample")
    write_sample(directory, items=60, users=20, seed=3)
    return load_items(directory)


def objective(items: Items, **options: object) -> Objective:
    chosen = FinetuneOptions(**{**QUICK, **options})  # type: ignore[arg-type]
    encoder = open_encoder("clip:mini")
    trainable = open_trainable(encoder)
    choose_parameters(trainable, "full")
    if chosen.checkpointing:
        trainable.checkpoint_blocks()
    pairs = load_pairs(items, encoder, items.directory / "pixels", valid_share=0.1, seed=0)
    generator = torch.Generator().manual_seed(0)
    return Objective(trainable, pairs, chosen, None, generator, Processes("cpu"))


def gradients(items: Items, **options: object) -> dict[str, torch.Tensor]:
    found = objective(items, **options)
    found.loss(torch.from_numpy(found.pairs.train[:12])).backward()
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
    assert torch.equal(plain._draw(rows).pixels(places), plain.pairs.pixels(rows))
    assert not torch.equal(altered._draw(rows).pixels(places), plain.pairs.pixels(rows))


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
    with pytest.raises(OptionError, match="--accumulate must be"):
        FinetuneOptions(accumulate=0)


PROGRAM = """
import sys
from pathlib import Path
from mmx.data.dataset import load_items
from mmx.extract.encoders import open_encoder
from mmx.extract.finetune import FinetuneOptions, finetune
items = load_items(Path(sys.argv[1]))
options = FinetuneOptions(epochs=2, batch_size=15, chunk=8, lr=1e-3, seed=0)
finetune(items, open_encoder("clip:mini"), Path(sys.argv[2]), options, pixels=Path(sys.argv[3]))
"""


def test_two_processes_end_where_one_does(items: Items, tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--rdzv-backend=c10d"]
    launcher += ["--rdzv-endpoint=127.0.0.1:0", "--nproc-per-node"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    tuned = []
    for count in ("1", "2"):
        arguments = [str(items.directory), str(tmp_path / count), str(items.directory / "pixels")]
        done = subprocess.run(
            [*launcher, count, str(script), *arguments], env=environment, capture_output=True,
            text=True, timeout=180, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        tuned.append(load_file(tmp_path / count / "model.safetensors"))
    start = dict(open_encoder("clip:mini").model.named_parameters())  # type: ignore[attr-defined]
    for name, one in tuned[0].items():  # Adam turns rounding into steps where gradients are tiny
        step = (one - start[name]).norm()
        assert (one - tuned[1][name]).norm() <= 0.05 * step + 1e-6, name
