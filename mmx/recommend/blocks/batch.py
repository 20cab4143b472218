"""The different items of a batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F

STEP = 128  # rows; see ``unique_padded``


def unique_padded(numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(B,) numbers → the n different ones, the place of each of the B, and how often each occurs.

    n is filled up with zeros, which occur 0 times, to a multiple of STEP: on a CPU a product in
    bfloat16 is compiled for each shape, and compiling for every number of different items took a
    quarter of SLMRec's step.
    """
    found, place, counts = numbers.unique(return_inverse=True, return_counts=True)
    spare = -len(found) % STEP
    return F.pad(found, (0, spare)), place, F.pad(counts, (0, spare))
