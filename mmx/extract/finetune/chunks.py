"""Encode many rows with gradients in the memory of a few."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.utils.checkpoint import checkpoint


def in_chunks(
    encode: Callable[[torch.Tensor], torch.Tensor], rows: torch.Tensor, size: int
) -> torch.Tensor:
    """``encode`` of (n,) rows, ``size`` at a time → (n, d), with gradients.

    Gradient caching (Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory
    Limited Setup", RepL4NLP 2021): chunks are encoded without keeping their activations; on the
    way back each is encoded again, with the same random numbers, and takes the gradient that
    the loss left at its embeddings. Exact, for any loss over all n rows; the peak memory is
    that of one chunk whatever n is.
    """
    if not torch.is_grad_enabled():
        return torch.cat([encode(chunk) for chunk in rows.split(size)])
    return torch.cat([checkpoint(encode, chunk, use_reentrant=False) for chunk in rows.split(size)])
