"""Random numbers that were drawn on the CPU, as a seed gives them, for a step on any device."""

from __future__ import annotations

import torch


def sent(drawn: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The same numbers there. The CPU goes on with the step before a GPU has them."""
    return drawn.to(device, non_blocking=True)
