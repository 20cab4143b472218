"""The different items of a batch, in as many rows as the next batch has."""

from __future__ import annotations

import pytest
import torch

from mmx.recommend.blocks.batch import STEP, _unique_of_any_number, unique_padded


@pytest.mark.parametrize("size", [1, STEP, STEP + 1, 3 * STEP])
def test_every_number_is_found_and_the_filling_counts_nothing(size: int) -> None:
    numbers = torch.randint(1, 2 * STEP, (size,), generator=torch.Generator().manual_seed(size))
    found, place, counts = unique_padded(numbers, 2 * STEP)
    assert torch.equal(found[place], numbers)
    assert len(found) == len(counts)
    assert len(found) % STEP == 0
    known = counts > 0
    assert torch.equal(found[known], numbers.unique())
    assert torch.equal(counts[known], torch.bincount(numbers)[numbers.unique()])
    assert not found[~known].any()


@pytest.mark.parametrize("size", [1, STEP, STEP + 1, 3 * STEP])
@pytest.mark.parametrize("largest", [1, STEP // 2, 100 * STEP])
def test_what_a_gpu_finds_has_more_filling_alone(size: int, largest: int) -> None:
    numbers = torch.randint(largest, (size,), generator=torch.Generator().manual_seed(size))
    found, place, counts = _unique_of_any_number(numbers, largest)
    expected = unique_padded(numbers, largest)
    assert torch.equal(place, expected[1])
    assert len(found) == len(counts) == -(-min(size, largest) // STEP) * STEP
    for one, other in ((found, expected[0]), (counts, expected[2])):
        assert torch.equal(one[: len(other)], other)
        assert not one[len(other) :].any()
