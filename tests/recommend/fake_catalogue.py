"""A catalogue whose encoder is one small matrix, and models end to end on it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from mmx.devices import sent
from mmx.recommend.end_to_end import EndToEnd, EndToEndOptions
from mmx.recommend.features import Features
from mmx.recommend.models import find_model
from mmx.recommend.protocol import World
from tests.recommend.toy import ABSENT, N_ITEMS, toy_train

D = 4


class FakeCatalogue:
    """Two towers over fixed inputs, one for each modality."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(5)
        self.inputs = {m: torch.randn(N_ITEMS, 6, generator=generator) for m in ("image", "text")}
        self.present = {m: ~np.isin(np.arange(N_ITEMS), ABSENT[m]) for m in self.inputs}
        towers = {
            m: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, D)) for m in self.inputs
        }
        self.model = nn.ModuleDict(towers)
        for p in self.model.parameters():
            p.data = 0.4 * torch.randn(p.shape, generator=generator)
        self.trainable = SimpleNamespace(model=self.model)

    def encode(self, modality: str, rows: torch.Tensor) -> torch.Tensor:
        tower = self.model[modality]
        inputs = sent(self.inputs[modality][rows], next(tower.parameters()).device)
        return nn.functional.normalize(tower(inputs), dim=1)

    @torch.no_grad()
    def features(self, chunk: int) -> dict[str, Features]:
        found = {}
        for m, present in self.present.items():
            vectors = self.encode(m, torch.arange(N_ITEMS)).cpu().numpy() * present[:, None]
            found[m] = Features(vectors.astype(np.float32), present)
        return found


def build(name: str, **options: Any) -> tuple[EndToEnd, FakeCatalogue]:
    catalogue = FakeCatalogue()
    module = find_model(name).load()
    world = World(toy_train(), catalogue.features(8))
    generator = torch.Generator().manual_seed(1)
    settings: dict[str, Any] = {"dim": 4}
    if name == "lattice":
        settings |= {"neighbours": 4, "frozen": 0.5}
    inner = module.Model(module.Config(**settings), world, generator)
    chosen = EndToEndOptions(**{"chunk": 2, **options})
    return EndToEnd(inner, catalogue, chosen), catalogue  # type: ignore[arg-type]


def encoder_gradients(catalogue: FakeCatalogue) -> list[torch.Tensor]:
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone()
            for p in catalogue.model.parameters()]  # fmt: skip
