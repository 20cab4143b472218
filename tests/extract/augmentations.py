"""What tests of augmentation by other processes share."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from mmx.data.dataset import Items, load_items
from mmx.extract.pictures.augment import Augmentation
from mmx.sample.catalogue import write_sample
from tests.extract.descendants import alive, command_of


@dataclass(frozen=True)
class OnlyIn(Augmentation):
    """Works in one process, and fails in all others."""

    process: int = 0

    def __call__(self, pixels: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
        if os.getpid() != self.process:
            raise MemoryError("no room for a picture\nat all")
        return super().__call__(pixels, seeds)


def small_items(directory: Path) -> Items:
    """60 drawn items."""
    write_sample(directory, items=60, users=20, seed=3)
    return load_items(directory)


def forks_of(mark: str) -> list[int]:
    """The nursery of a test and its forks, oldest first."""
    return sorted(p for p in alive(mark) if "stages.forked" in command_of(p))
