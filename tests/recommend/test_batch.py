"""The different items of a batch, in as many rows as the next batch has."""

from __future__ import annotations

import pytest
import torch

from mmx.recommend.blocks.batch import STEP, unique_padded


@pytest.mark.parametrize("size", [1, STEP, STEP + 1, 3 * STEP])
def test_every_number_is_found_and_the_filling_counts_nothing(size: int) -> None:
    numbers = torch.randint(1, 2 * STEP, (size,), generator=torch.Generator().manual_seed(size))
    found, place, counts = unique_padded(numbers)
    assert torch.equal(found[place], numbers)
    assert len(found) == len(counts)
    assert len(found) % STEP == 0
    known = counts > 0
    assert torch.equal(found[known], numbers.unique())
    assert torch.equal(counts[known], torch.bincount(numbers)[numbers.unique()])
    assert not found[~known].any()
