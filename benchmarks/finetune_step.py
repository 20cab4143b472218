"""What augmentation takes of a step of fine-tuning, done by the training process or beside it.

    python benchmarks/finetune_step.py --model clip:mini --batch 128
    python benchmarks/finetune_step.py --model ViT-B-32 --batch 64 --threads 2
    python benchmarks/finetune_step.py --model ViT-B-32 --batch 256 --device cuda --processes 0,4,8

A drawn catalogue; an open_clip architecture has random weights. First the pictures of a batch
alone, then the fastest epoch of several, without augmentation and with it, by processes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from mmx.data.dataset import Items, load_items
from mmx.extract.encoder import Encoder
from mmx.extract.encoders import open_encoder
from mmx.extract.finetune import FinetuneOptions, tune_encoder
from mmx.extract.finetune.ahead import Ahead
from mmx.extract.finetune.loop import TuneSteps
from mmx.extract.finetune.pairs import AugmentedBatch
from mmx.extract.pictures.augment import CLIP, VLMO
from mmx.sample.catalogue import write_sample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="clip:mini", help="clip:mini or one of open_clip's")
    parser.add_argument("--batch", type=int, default=64, help="pairs")
    parser.add_argument("--steps", type=int, default=4, help="of an epoch")
    parser.add_argument("--epochs", type=int, default=3, help="of each way")
    parser.add_argument("--processes", default="0,1", help="that augment, by commas")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_sample(folder / "data", items=int(options.batch * options.steps * 1.2), users=20)
        items = load_items(folder / "data")
        rule = opened(folder, options.model, options.device).image_rule
        assert rule is not None
        augmenting(options.batch, rule.size)
        ways: list[int | None] = [None, *map(int, options.processes.split(","))]
        for way in ways:
            said = "not augmented" if way is None else f"{way} processes"
            wall, cpu = fastest(items, folder, options, way)
            print(f"{said:>14} {wall:10.1f} ms a step, {cpu:.1f} of CPU in its process", flush=True)


def augmenting(batch: int, size: int) -> None:
    """The pictures of a batch alone, on one thread."""
    pictures = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name, how in (("CLIP", CLIP), ("VLMo", VLMO)):
        taken = []
        for turn in range(5):
            start = time.process_time()
            how(torch.from_numpy(pictures), torch.arange(batch) + turn * batch)
            taken.append(time.process_time() - start)
        print(f"{name + ', alone':>14} {1000 * np.median(taken):10.1f} ms of CPU a batch")
    torch.set_num_threads(threads)


def fastest(
    items: Items, folder: Path, options: argparse.Namespace, way: int | None
) -> tuple[float, float]:
    """Of a step, ms of time and of this process's CPU, the least of several epochs.

    ``way``: how many processes augment, None: nothing is augmented.
    """
    chosen = FinetuneOptions(
        epochs=options.epochs + 1, patience=options.epochs + 1, batch_size=options.batch,
        augment=way is not None,
    )  # fmt: skip
    taken: list[tuple[float, float]] = []
    epoch, start = TuneSteps.epoch, Ahead._start

    def timed(steps: TuneSteps) -> float:
        wall, cpu = time.perf_counter(), time.process_time()
        loss = epoch(steps)
        both = time.perf_counter() - wall, time.process_time() - cpu
        taken.append((1000 * both[0] / steps.batches, 1000 * both[1] / steps.batches))
        return loss

    def started(ahead: Ahead, batch: AugmentedBatch) -> Any:
        found = start(ahead, batch)
        while ahead._forks is not None and len(ahead._forks.ready) < ahead.count:
            ahead._listen(0.1)
        return found

    with (
        mock.patch.object(TuneSteps, "epoch", timed),
        mock.patch.object(Ahead, "_start", started),
    ):
        tune_encoder(
            items, opened(folder, options.model, options.device), folder / "run", chosen,
            pixels=folder / "pixels", overwrite=True, decode_processes=way or 0,
        )  # fmt: skip
    walls, cpus = zip(*taken[1:], strict=True)  # the first waits for the processes
    return min(walls), min(cpus)


def opened(folder: Path, model: str, device: str) -> Encoder:
    """clip:mini, or another architecture with random weights."""
    if model == "clip:mini":
        return open_encoder(model, device=device)
    import open_clip

    path = folder / "random.pt"
    if not path.exists():
        torch.save(open_clip.create_model(model, pretrained=None).state_dict(), path)
    return open_encoder(f"clip:{model}", weights=path, device=device)


if __name__ == "__main__":
    main()
