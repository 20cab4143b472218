"""What is kept of the best epoch: on the GPU that trains, where it has room.

Large matrices of the CPU are in files, as training does not read them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from mmx.mapped import Space, in_blocks, release
from mmx.recommend.device_factors import DeviceFactors
from mmx.recommend.memory import SHARE_OF_GPU
from mmx.recommend.scoring import Factors
from mmx.recommend.trained import Trained


class Kept:
    """Copies of a model's state and embeddings, each in the place of the copy before."""

    def __init__(self, space: Space) -> None:
        """``space`` is where large matrices go."""
        self._space = space
        self._files: dict[str, np.ndarray] = {}
        self._there: DeviceFactors | None = None  # the best embeddings, if newer than the scorer

    def scorer(self, best: Trained, scorer: Factors | DeviceFactors) -> None:
        """The embeddings of a new best epoch; those of a GPU stay there until ``fetch``."""
        self._there = None
        if isinstance(scorer, Factors):
            best.scorer = self.factors(scorer)
        elif _has_room(scorer.items.device, scorer.size):
            self._there = DeviceFactors(scorer.users.clone(), scorer.items.clone())
        else:
            best.scorer = self.factors(scorer.on_cpu())

    def fetch(self, best: Trained) -> None:
        """Have the embeddings of the best epoch in ``best``."""
        if self._there is not None:
            best.scorer = self.factors(self._there.on_cpu())
            self._there = None

    def factors(self, scorer: Factors) -> Factors:
        """The same embeddings, large ones in files."""
        users, items = self._array("users", scorer.users), self._array("items", scorer.items)
        return replace(scorer, users=users, items=items)

    def state(self, state: dict[str, torch.Tensor], model: nn.Module) -> None:
        """Fill ``state`` with the model's parameters as they are now."""
        now = model.state_dict()
        size = sum(value.nbytes for value in now.values())
        for name, value in now.items():
            if value.device.type == "cpu" and self._is_large(value):
                state[name] = torch.from_numpy(self._array(f"state {name}", value.numpy()))
                continue
            device = value.device if _has_room(value.device, size) else torch.device("cpu")
            if name in state and state[name].device == device:
                state[name].copy_(value)
            else:
                state[name] = value.detach().to(device, copy=True)

    def release(self) -> None:
        """Give back the memory of files that were read."""
        for file in self._files.values():
            release(file)

    def _is_large(self, value: torch.Tensor) -> bool:
        matrix = value.ndim == 2 and value.dtype == torch.float32
        return matrix and self._space.maps(*value.shape)

    def _array(self, name: str, value: np.ndarray) -> np.ndarray:
        """The matrix, or its copy in a file."""
        if not self._space.maps(*value.shape):
            return value
        if name not in self._files:
            self._files[name] = self._space.zeros(*value.shape)
        file = self._files[name]
        for rows in in_blocks(file):
            file[rows] = value[rows]
        return np.asarray(file)


def _has_room(device: torch.device, size: int) -> bool:
    """Whether so many bytes may stay on the device; training takes most of a GPU's memory."""
    if device.type != "cuda":
        return True
    return size <= torch.cuda.get_device_properties(device).total_memory // SHARE_OF_GPU
