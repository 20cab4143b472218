"""Contrastive losses of fine-tuning, as functions of embeddings of length 1."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def itc(
    images: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor, alike: torch.Tensor
) -> torch.Tensor:
    """Image-text contrast: symmetric InfoNCE of (B, d) pairs (Radford et al., 2021, figure 3).

    ``scale`` is 1/τ. ``alike`` (B, B) bool marks pairs of items with the same picture or the
    same text: off the diagonal they are not negatives of each other and are left out.
    """
    logits = scale * images @ texts.T  # (B, B)
    itself = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    logits = logits.masked_fill(alike & ~itself, float("-inf"))
    pairs = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2


def co_interaction(
    items: torch.Tensor, partners: torch.Tensor, scale: torch.Tensor, alike: torch.Tensor
) -> torch.Tensor:
    """Contrast of items (B, d) with items of the same users (B, d).

    ``alike`` (B, B) bool marks where a row's partner is the same item as another row's, or
    belongs to the same users too: those are not negatives.
    """
    return itc(items, partners, scale, alike)
