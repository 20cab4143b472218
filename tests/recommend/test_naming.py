"""The modules of a modality are found by its name, whatever torch calls its own things."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmx.recommend.blocks.naming import module_key

NAMES = ["image", "audio", "keys", "type", "training", "forward", "a.b", "a%2Eb", "%keys", "ü-1"]


@pytest.mark.parametrize("kind", [nn.ModuleDict, nn.ParameterDict])
def test_torch_takes_every_name(kind: type) -> None:
    made = kind()
    for name in NAMES:
        made[module_key(name)] = nn.Linear(1, 1) if kind is nn.ModuleDict else torch.zeros(1)
    assert len(list(made.keys())) == len(NAMES)


def test_ordinary_names_stay() -> None:
    assert [module_key(name) for name in ("image", "text", "fused")] == ["image", "text", "fused"]
