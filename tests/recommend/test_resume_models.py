"""A killed training of any model ends in the weights that it would have had, to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmx.recommend.features import Features
from mmx.recommend.models import MODELS
from mmx.recommend.protocol import GradientForm, World
from mmx.testing.steps import resumed
from tests.recommend.short_training import log

STEPPED = [name for name, record in MODELS.items() if not record.closed_form]
ITEMS = 40


@pytest.mark.parametrize("name", STEPPED)
def test_a_killed_run_ends_in_the_same_weights(name: str, tmp_path: Path) -> None:
    module, data = MODELS[name].load(), log(users=30, items=ITEMS, each=8)
    rng = np.random.default_rng(2)
    features = {
        modality: Features(rng.normal(size=(ITEMS, 6)).astype(np.float32), np.ones(ITEMS, bool))
        for modality in ("image", "text")
    }
    world = World(data.train, features if MODELS[name].features == "required" else {})
    assert isinstance(module, GradientForm)
    resumed(module, module.Config(dim=8), data, world, tmp_path / "checkpoint")
