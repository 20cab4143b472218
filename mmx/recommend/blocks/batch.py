"""The different items of a batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F

STEP = 128  # rows; see ``unique_padded``


def unique_padded(
    numbers: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(B,) numbers below ``count`` → the n different ones, the place of each, how often they occur.

    n is filled up with zeros, which occur 0 times, to a multiple of STEP: on a CPU a product in
    bfloat16 is compiled for each shape, and compiling for every number of different items took a
    quarter of SLMRec's step. On a GPU it is filled up to B or ``count``, whichever is less: the
    step goes on while the GPU has yet to find how many are different.
    """
    if numbers.is_cuda:
        return _unique_of_any_number(numbers, count)
    found, place, counts = numbers.unique(return_inverse=True, return_counts=True)
    spare = -len(found) % STEP
    return F.pad(found, (0, spare)), place, F.pad(counts, (0, spare))


def _unique_of_any_number(
    numbers: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The same for a GPU, by operations whose results have a known size."""
    most = min(len(numbers), count)
    length = most + -most % STEP
    rising, order = numbers.sort()
    new = F.pad(rising[1:] != rising[:-1], (1, 0))  # the first of all is number 0
    nth = new.cumsum(0)  # (B,) which of the different ones
    found = numbers.new_zeros(length).scatter_(0, nth, rising)
    place = torch.empty_like(numbers).scatter_(0, order, nth)
    counts = numbers.new_zeros(length).scatter_add_(0, nth, torch.ones_like(numbers))
    return found, place, counts
