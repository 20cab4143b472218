"""Gradient caching equals plain back-propagation, whatever the chunk."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmx.extract.finetune.chunks import in_chunks


class Encoder(nn.Module):
    """Two layers with dropout, counting the rows that are alive at once."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 16), nn.Linear(16, 3)
        self.dropout = nn.Dropout(dropout)
        self.passes: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes.append(len(x))
        return self.second(self.dropout(torch.tanh(self.first(x))))


def contrast(embeddings: torch.Tensor) -> torch.Tensor:
    """A loss over all rows at once."""
    return torch.logsumexp(embeddings @ embeddings.T, 1).mean()


def gradients(encoder: nn.Module, loss: torch.Tensor) -> list[torch.Tensor]:
    encoder.zero_grad()
    loss.backward()
    return [p.grad.clone() for p in encoder.parameters() if p.grad is not None]


@pytest.mark.parametrize("size", [1, 3, 7, 20])
def test_gradients_are_those_of_plain_back_propagation(size: int) -> None:
    torch.manual_seed(0)
    encoder, x = Encoder(0.0).double(), torch.randn(11, 5, dtype=torch.float64)
    plain = contrast(encoder(x))
    expected = gradients(encoder, plain)
    chunked = contrast(in_chunks(encoder, x, size))
    assert abs(chunked.item() - plain.item()) < 1e-12
    for mine, theirs in zip(gradients(encoder, chunked), expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)


def test_dropout_is_the_same_both_times() -> None:
    torch.manual_seed(0)
    encoder, x = Encoder(0.5).double(), torch.randn(8, 5, dtype=torch.float64)
    torch.manual_seed(3)
    plain = contrast(torch.cat([encoder(part) for part in x.split(4)]))
    expected = gradients(encoder, plain)
    torch.manual_seed(3)
    for mine, theirs in zip(
        gradients(encoder, contrast(in_chunks(encoder, x, 4))), expected, strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)


def test_each_chunk_is_encoded_once_without_and_once_with_gradient() -> None:
    encoder, x = Encoder(0.0), torch.randn(10, 5)
    contrast(in_chunks(encoder, x, 4)).backward()
    assert encoder.passes[:3] == [4, 4, 2]
    assert sorted(encoder.passes[3:]) == [2, 4, 4]
    encoder.passes.clear()
    with torch.no_grad():
        in_chunks(encoder, x, 4)
    assert encoder.passes == [4, 4, 2]
