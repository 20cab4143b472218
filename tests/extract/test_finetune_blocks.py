"""Validation over many pairs, a part of their similarities in memory at once."""

from __future__ import annotations

import pytest
import torch

from mmx.extract.finetune import losses
from mmx.extract.finetune.losses import co_interaction, found_at, itc, itc_in_blocks

M = 11


def pairs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pictures and texts (M, 5) of length 1, and a scale."""
    generator = torch.Generator().manual_seed(0)
    images, texts = (torch.randn(M, 5, generator=generator) for _ in range(2))
    return *(torch.nn.functional.normalize(x, dim=1) for x in (images, texts)), torch.tensor(3.0)


def alike(*, both_ways: bool) -> torch.Tensor:
    """(M, M) bool: every row itself, and some others."""
    found = torch.eye(M, dtype=torch.bool)
    found[1, 4] = found[9, 2] = True
    return found | found.T if both_ways else found


@pytest.mark.parametrize("both_ways", [True, False])
@pytest.mark.parametrize("numbers", [1, 2 * M, 4 * M, M * M, 1 << 20])
def test_the_loss_is_that_of_the_whole_matrix(
    numbers: int, both_ways: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "NUMBERS_AT_ONCE", numbers)
    images, texts, scale = pairs()
    same, seen = alike(both_ways=both_ways), []

    def part(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        seen.append(len(left) * len(right))
        return same[left][:, right]

    found = itc_in_blocks(images, texts, scale, part)
    expected = itc(images, texts, scale, same)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found, co_interaction(images, texts, scale, same))
    assert max(seen) <= max(numbers, M)  # a row at least
    if numbers >= M * M:  # all at once: to the bit
        assert torch.equal(found, expected)


@pytest.mark.parametrize("numbers", [1, 4 * M, 1 << 20])
def test_texts_are_found_among_all(numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "NUMBERS_AT_ONCE", numbers)
    images, texts, _ = pairs()
    same = alike(both_ways=True)
    expected = []
    for i in range(M):
        scores = [float(images[i] @ text) for text in texts]
        own = max(scores[j] for j in range(M) if same[i, j])
        expected.append(sum(scores[j] > own for j in range(M) if not same[i, j]))
    assert found_at(images, texts, lambda i, j: same[i][:, j]).tolist() == expected
    assert len(set(expected)) > 2
