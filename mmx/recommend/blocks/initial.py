"""Values drawn from an explicit generator: initial ones, and the noise of steps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


def xavier(rows: int, columns: int, generator: torch.Generator) -> nn.Parameter:
    """A (rows, columns) parameter, uniform after Glorot and Bengio (AISTATS 2010)."""
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(rows, columns), generator=generator))


def xavier_normal(rows: int, columns: int, generator: torch.Generator) -> nn.Parameter:
    """A (rows, columns) parameter, normal after Glorot and Bengio."""
    return nn.Parameter(nn.init.xavier_normal_(torch.empty(rows, columns), generator=generator))


def linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """A linear layer, its weight drawn by ``xavier`` and its bias by ``bias``."""
    layer = nn.Linear(inputs, outputs)
    layer.weight = xavier(outputs, inputs, generator)
    layer.bias = bias(inputs, outputs, generator)
    return layer


def bias(inputs: int, outputs: int, generator: torch.Generator) -> nn.Parameter:
    """(outputs,) uniform within 1/√inputs, torch's own, which the papers' programs start from."""
    bound = inputs**-0.5
    return nn.Parameter(torch.empty(outputs).uniform_(-bound, bound, generator=generator))


def own_generator(generator: torch.Generator) -> torch.Generator:
    """What a model draws from in its steps, seeded by what its initial values are drawn from.

    It is of the CPU until ``draw_on``: what is drawn has to be sent to where the model is.
    """
    return torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=generator)))


def uniform(shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
    """Numbers in [0, 1), on the device of their generator."""
    return torch.rand(tuple(shape), generator=generator, device=generator.device)
