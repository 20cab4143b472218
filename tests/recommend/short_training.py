"""A log and a short training of BPR on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from mmx.recommend.interactions import Interactions, UserItems
from mmx.recommend.models import bpr
from mmx.recommend.options import TrainOptions
from mmx.recommend.protocol import World
from mmx.recommend.trained import Trained
from mmx.recommend.training import train
from tests.catalogue import random_log


def log(users: int = 60, items: int = 90, each: int = 12) -> Interactions:
    pairs = random_log(users, items, each)
    split = (["train"] * (each - 3) + ["valid", "test", "test"]) * users
    table = pa.table({"user_id": [u for u, _ in pairs], "item_id": [i for _, i in pairs],
                      "split": split})  # fmt: skip
    return Interactions.from_table(table, pa.array([f"i{n}" for n in range(items)]))


def run(data: Interactions, path: Path | None = None, **options: object) -> Trained:
    chosen = TrainOptions(**{"epochs": 6, "batch_size": 128, "lr": 0.01, **options})  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(chosen.seed)
    model = bpr.Model(bpr.Config(dim=8), World(data.train), generator)
    return train(model, data, chosen, checkpoint=path)


def with_one_who_took_all(data: Interactions) -> Interactions:
    """The first user has every item in training."""
    n = data.train.n_items
    everything = UserItems.from_pairs(np.zeros(n, int), np.arange(n), data.train.n_users, n)
    return replace(data, train=data.train | everything)
