"""What is kept of the best epoch: large matrices in files, as training does not read them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from mmx.mapped import Space, in_blocks, release
from mmx.recommend.scoring import Factors


class Kept:
    """Copies of a model's state and embeddings, each in the place of the copy before."""

    def __init__(self, space: Space) -> None:
        """``space`` is where large matrices go."""
        self._space = space
        self._files: dict[str, np.ndarray] = {}

    def factors(self, scorer: Factors) -> Factors:
        """The same embeddings, large ones in files."""
        users, items = self._array("users", scorer.users), self._array("items", scorer.items)
        return replace(scorer, users=users, items=items)

    def state(self, state: dict[str, torch.Tensor], model: nn.Module) -> None:
        """Fill ``state`` with the model's parameters as they are now."""
        for name, value in model.state_dict().items():
            if value.device.type == "cpu" and self._is_large(value):
                state[name] = torch.from_numpy(self._array(f"state {name}", value.numpy()))
            elif name in state:
                state[name].copy_(value)
            else:
                state[name] = value.detach().clone()

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
