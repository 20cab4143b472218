"""An augmentation that other processes cannot do."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from mmx.extract.pictures.augment import Augmentation


@dataclass(frozen=True)
class OnlyIn(Augmentation):
    """Works in one process, and fails in all others."""

    process: int = 0

    def __call__(self, pixels: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
        if os.getpid() != self.process:
            raise MemoryError("no room for a picture\nat all")
        return super().__call__(pixels, seeds)
