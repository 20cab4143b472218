"""Every recommender that is trained in epochs, on a world of 20 users and 30 items."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from mmx.recommend.features import Features
from mmx.recommend.models import MODELS, find_model
from mmx.recommend.protocol import GradientModel, World
from tests.recommend.short_training import log

DATA = log(users=20, items=30, each=6)
TRAINED = [name for name, record in MODELS.items() if not record.closed_form]


def features() -> dict[str, Features]:
    """Vectors of two modalities; one item in ten has none."""
    random = np.random.default_rng(0)
    found = {}
    for name, d in (("image", 12), ("text", 8)):
        present = random.random(DATA.train.n_items) > 0.1
        matrix = random.standard_normal((len(present), d)).astype(np.float32)
        found[name] = Features(matrix * present[:, None], present)
    return found


def made(name: str) -> GradientModel:
    module: Any = find_model(name).load()
    mine = {} if MODELS[name].features == "none" else features()
    return module.Model(module.Config(), World(DATA.train, mine), torch.Generator().manual_seed(0))
