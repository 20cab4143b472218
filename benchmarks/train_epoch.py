"""Seconds an epoch, interactions a second and peak memory of every recommender.

    python benchmarks/train_epoch.py                                   # made-up data, Baby's size
    python benchmarks/train_epoch.py --models bpr,lightgcn --epochs 5
    python benchmarks/train_epoch.py --data DIR --image image.npy --text text.npy
    python benchmarks/train_epoch.py --device cuda                     # every model, one process
    python benchmarks/train_epoch.py --threads 1 --json benchmarks/measured/epoch.json
    python benchmarks/train_epoch.py --threads 1 --json benchmarks/measured/epoch.json \\
        --precision bfloat16                       # for the page of scripts/zoo.py, both of them

Made-up data: 19,445 users, 7,050 items, 118,551 training pairs in communities, 4096-d image and
384-d text vectors that depend on an item's community. To compare with another tool, ``--data``
takes a dataset directory whose interactions have a split, and matrices in the order of its items.
Each model is trained with its defaults in its own process, batch 2048, and evaluated on validation
after every epoch: full ranking, training items masked. A closed form is one epoch, in float32.
On a GPU one process trains all of them, peak is the GPU's memory, and a model that fails is named.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
import traceback
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from mmx.recommend.models import MODELS, find_model

USERS, ITEMS, TRAIN, HELD_OUT = 19_445, 7_050, 118_551, 20_559
COMMUNITIES = 120
INSTRUCTIONS = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "bfloat16", "amx_tile": "AMX"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(MODELS), help="names, by commas")
    parser.add_argument("--epochs", type=int, default=3, help="the fastest one counts")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="torch threads")
    parser.add_argument("--precision", default="float32", help="float32 or bfloat16")
    parser.add_argument("--lr", type=float, help="learning rate, by default the model's own")
    parser.add_argument("--seed", type=int, default=0, help="of the model and the negatives")
    parser.add_argument("--data", type=Path, help="dataset directory with a split")
    parser.add_argument("--image", type=Path, help="(items, d) .npy, with --data")
    parser.add_argument("--text", type=Path, help="(items, d) .npy, with --data")
    parser.add_argument("--set", action="append", default=[], help="NAME=VALUE of the model")
    parser.add_argument("--json", type=Path, help="add the figures to those of this file")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options, options.one)))
        return
    print(f"{'model':12} {'s/epoch':>8} {'pairs/s':>9} {'eval s':>7} {'start s':>8} "
          f"{'peak GB':>8}  recall@20 on validation after each epoch")  # fmt: skip
    if options.json and options.device != "cpu":
        parser.error("--json is for the figures of a CPU")
    run = in_own_process if options.device == "cpu" else on_device
    for model in options.models.split(","):
        record = find_model(model)
        if record.closed_form and (options.precision != "float32" or options.device != "cpu"):
            continue
        if (row := run(options, model)) is None:
            continue
        if options.json:
            keep(options, model, row)
        recalls = " ".join(f"{value:.4f}" for value in row["recall"])
        print(
            f"{model:12} {row['epoch']:8.2f} {row['rate']:9,.0f} "
            f"{row['evaluation']:7.2f} {row['start']:8.2f} {row['peak']:8.2f}  {recalls}",
            flush=True,
        )


def in_own_process(options: argparse.Namespace, model: str) -> dict[str, Any]:
    """The figures of a process whose peak memory is the model's."""
    command = [sys.executable, __file__, *sys.argv[1:], "--one", model]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def on_device(options: argparse.Namespace, model: str) -> dict[str, Any] | None:
    """The figures with the peak memory of the device; None and a line where it fails."""
    import torch

    from mmx.devices import give_back_memory

    give_back_memory()
    torch.cuda.reset_peak_memory_stats(options.device)
    try:
        found = measure(options, model)
    except Exception:  # the others are measured all the same
        print(f"{model}: {traceback.format_exc()}", flush=True)
        return None
    return found | {"peak": torch.cuda.max_memory_allocated(options.device) / 2**30}


def keep(options: argparse.Namespace, model: str, row: dict[str, float]) -> None:
    """Add seconds an epoch and peak GB, after which a run that is stopped has lost one model.

    Figures of another processor or number of threads are dropped.
    """
    where = {"processor": processor(), "threads": options.threads}
    found = json.loads(options.json.read_text()) if options.json.exists() else {}
    if any(found.get(name) != value for name, value in where.items()):
        found = where
    figures = {"seconds": round(row["epoch"], 3), "gigabytes": round(row["peak"], 2)}
    found.setdefault(options.precision, {})[model] = figures
    options.json.write_text(json.dumps(found, indent=1) + "\n")


def processor() -> str:
    """Its name and the instructions that decide on speed, which one name does not say."""
    cpus = Path("/proc/cpuinfo")
    found = {"model name": "", "flags": ""}
    for line in cpus.read_text().splitlines() if cpus.exists() else []:
        name, _, value = line.partition(":")
        if name.strip() in found:
            found[name.strip()] = value.strip()
    name = found["model name"] or platform.processor() or platform.machine()
    has = [shown for flag, shown in INSTRUCTIONS.items() if flag in found["flags"].split()]
    return f"{name} with {', '.join(has)}" if has else name


def measure(options: argparse.Namespace, name: str) -> dict[str, Any]:
    """Measure one model in this process; the fastest epoch counts."""
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    import torch

    from mmx.recommend.evaluation import evaluate_scorer
    from mmx.recommend.options import TrainOptions, TrainProgress
    from mmx.recommend.protocol import ClosedForm, World
    from mmx.recommend.settings import parse_settings
    from mmx.recommend.training import train

    torch.set_num_threads(options.threads)
    record = find_model(name)
    data, features = world_of(options) if options.data else made_up()
    if options.device != "cpu":  # which searches items' neighbours then
        features = {name: replace(one, device=options.device) for name, one in features.items()}
    world = World(data.train, {} if record.features == "none" else features)
    config = parse_settings(record, options.set)
    module = record.load()
    start = time.perf_counter()
    if isinstance(module, ClosedForm):
        scorer = module.fit(config, world)
        seconds, prepared = time.perf_counter() - start, 0.0
        start = time.perf_counter()
        recall = [evaluate_scorer(scorer, data.valid, data.train).means["recall@20"]]
        evaluation = time.perf_counter() - start
    else:
        generator = torch.Generator().manual_seed(options.seed)
        model = module.Model(config, world, generator)
        prepared = time.perf_counter() - start
        reported: list[TrainProgress] = []
        chosen = TrainOptions(epochs=options.epochs, lr=options.lr, seed=options.seed,
                              precision=options.precision, patience=1000,
                              device=options.device)  # fmt: skip
        train(model, data, chosen.of(record), reported.append)
        seconds = min(p.seconds for p in reported)
        evaluation = min(p.evaluation_seconds for p in reported)
        recall = [p.valid["recall@20"] for p in reported]
    return {
        "epoch": seconds,
        "rate": len(data.train.indices) / seconds,
        "evaluation": evaluation,
        "start": prepared,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "recall": recall,
    }


def world_of(options: argparse.Namespace):  # type: ignore[no-untyped-def]
    """The interactions and features of ``--data``, ``--image`` and ``--text``."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from mmx.recommend.features import Features
    from mmx.recommend.interactions import Interactions

    log = pq.read_table(options.data / "interactions.parquet")
    ids = pq.read_table(options.data / "items.parquet")["item_id"].cast(pa.string())
    names = {name: log[name].cast(pa.string()) for name in ("user_id", "item_id")}
    data = Interactions.from_table(pa.table({**names, "split": log["split"]}), ids)
    features = {}
    for name in ("image", "text"):
        if path := getattr(options, name):
            matrix = np.load(path).astype(np.float32)
            features[name] = Features(matrix, np.ones(len(matrix), dtype=bool))
    return data, features


@cache
def made_up():  # type: ignore[no-untyped-def]
    """Users who mostly stay in a few communities of items; some items are popular."""
    import numpy as np

    from mmx.recommend.features import Features
    from mmx.recommend.interactions import UserItems

    rng = np.random.default_rng(0)
    community = rng.integers(0, COMMUNITIES, ITEMS)
    popularity = rng.pareto(1.2, ITEMS) + 0.05
    members = [np.flatnonzero(community == c) for c in range(COMMUNITIES)]
    weights = [popularity[m] / popularity[m].sum() for m in members]
    count = 2 * (TRAIN + HELD_OUT)  # duplicates are dropped
    users = rng.integers(0, USERS, count)
    taste = rng.integers(0, COMMUNITIES, (USERS, 3))[users, rng.integers(0, 3, count)]
    items = rng.choice(ITEMS, count, p=popularity / popularity.sum())
    for c in range(COMMUNITIES):
        own = (taste == c) & (rng.random(count) < 0.7)
        items[own] = rng.choice(members[c], own.sum(), p=weights[c])
    keys = rng.permutation(np.unique(users * ITEMS + items))[: TRAIN + HELD_OUT]
    parts = [
        UserItems.from_pairs(part // ITEMS, part % ITEMS, USERS, ITEMS)
        for part in (keys[:TRAIN], keys[TRAIN:])
    ]
    features = {}
    for name, dimension in (("image", 4096), ("text", 384)):
        centres = rng.standard_normal((COMMUNITIES, dimension), dtype=np.float32)
        noise = rng.standard_normal((ITEMS, dimension), dtype=np.float32)
        features[name] = Features(centres[community] + noise, np.ones(ITEMS, dtype=bool))
    return Split(*parts), features


class Split:
    """The attributes of Interactions that the training loop reads."""

    def __init__(self, train, valid) -> None:  # type: ignore[no-untyped-def]
        self.train, self.valid, self.test = train, valid, valid
        self.known, self.fold_in = train, None


if __name__ == "__main__":
    main()
