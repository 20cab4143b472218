"""Encode many rows with gradients in the memory of a few."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.utils.checkpoint import checkpoint


def in_chunks(
    encode: Callable[[torch.Tensor], torch.Tensor],
    rows: torch.Tensor,
    size: int,
    device: torch.device | None = None,
) -> torch.Tensor:
    """``encode`` of (n,) rows, ``size`` at a time → (n, d), with gradients.

    ``device`` is where it computes, if not where the rows are.

    Gradient caching (Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory
    Limited Setup", RepL4NLP 2021): chunks are encoded without keeping their activations; on the
    way back each is encoded again, with the same random numbers, and takes the gradient that
    the loss left at its embeddings. Exact, for any loss over all n rows; the peak memory is
    that of one chunk whatever n is.
    """
    if not torch.is_grad_enabled():
        return torch.cat([encode(chunk) for chunk in rows.split(size)])
    # Of its arguments' devices the random state is kept: that of a GPU, too, for dropout there.
    there = torch.empty(0, device=rows.device if device is None else device)

    def again(chunk: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return encode(chunk)

    parts = rows.split(size)
    return torch.cat([checkpoint(again, part, there, use_reentrant=False) for part in parts])
