"""A process that alters pictures for another, and writes the pixels into memory they share."""

from __future__ import annotations

from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch

from mmx.extract.pictures.augment import Augmentation
from mmx.extract.stages.forked import Forked
from mmx.extract.stages.slots import Shape

AugmentTask = tuple[int, int, np.ndarray, np.ndarray]  # slot, first place, (k,) rows and seeds


@dataclass(frozen=True)
class Augmenting:
    """What such a process must know (a Work)."""

    images: Path  # of the pictures, (items, s, s, 3) uint8 as numpy wrote them
    how: Augmentation
    shape: Shape  # of a slot

    def prepare(self) -> None:
        """Torch is imported already; it starts no threads."""
        torch.set_num_threads(1)

    def forked(self, line: Connection, memory: int) -> Augmenter:
        """See Work."""
        return Augmenter(line, self, memory)


class Augmenter(Forked):
    """A fork that alters pictures."""

    def __init__(self, line: Connection, setup: Augmenting, memory: int) -> None:
        super().__init__(line, memory, setup.shape)
        self.images, self.how = np.load(setup.images, mmap_mode="r"), setup.how

    def made(self, task: AugmentTask) -> None:
        """Alter the pictures of a task."""
        number, start, rows, seeds = task
        pictures = torch.from_numpy(self.images[rows])
        altered = self.how(pictures, torch.from_numpy(seeds))
        self.slot(number)[start : start + len(rows)] = altered.numpy()
