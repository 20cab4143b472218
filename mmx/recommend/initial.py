"""Initial values drawn from an explicit generator."""

from __future__ import annotations

import torch
from torch import nn


def xavier(rows: int, columns: int, generator: torch.Generator) -> nn.Parameter:
    """A (rows, columns) parameter, uniform after Glorot and Bengio (AISTATS 2010)."""
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(rows, columns), generator=generator))


def linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """A linear layer with such a weight and no bias to begin with."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer
