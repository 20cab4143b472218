"""Contrastive losses of fine-tuning, as functions of embeddings of length 1."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F

NUMBERS_AT_ONCE = 1 << 26  # similarities in memory; 256 MiB

Alike = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (n,) and (k,) places → (n, k) bool


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


def itc_in_blocks(
    images: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor, alike: Alike
) -> torch.Tensor:
    """``itc`` of many pairs, (m, d) each, with a part of their similarities in memory at once."""
    every, scaled, total = _places(images), scale * images, images.new_zeros(())
    for part in blocks(images):
        itself = part[:, None] == every
        across = (scaled[part] @ texts.T).masked_fill(alike(part, every) & ~itself, float("-inf"))
        down = (scaled @ texts[part].T).masked_fill(alike(every, part) & ~itself.T, float("-inf"))
        loss = (F.cross_entropy(across, part) + F.cross_entropy(down.T, part)) / 2
        total = total + loss * (len(part) / len(every))
    return total


def found_at(images: torch.Tensor, texts: torch.Tensor, alike: Alike) -> torch.Tensor:
    """(m,) int64: of each picture how many texts are nearer than its own or one alike.

    In blocks, as ``itc_in_blocks``.
    """
    every, ranks = _places(images), []
    for part in blocks(images):
        same, scores = alike(part, every), images[part] @ texts.T
        own = torch.where(same, scores, float("-inf")).max(1).values
        ranks.append(((scores > own[:, None]) & ~same).sum(1))
    return torch.cat(ranks)


def blocks(rows: torch.Tensor) -> Iterator[torch.Tensor]:
    """Places of (m, d) ``rows``, so many at once that times m they are NUMBERS_AT_ONCE at most."""
    yield from _places(rows).split(max(1, NUMBERS_AT_ONCE // len(rows)))


def _places(rows: torch.Tensor) -> torch.Tensor:
    return torch.arange(len(rows), device=rows.device)


def co_interaction(
    items: torch.Tensor, partners: torch.Tensor, scale: torch.Tensor, alike: torch.Tensor
) -> torch.Tensor:
    """Contrast of items (B, d) with items of the same users (B, d).

    ``alike`` (B, B) bool marks where a row's partner is the same item as another row's, or
    belongs to the same users too: those are not negatives.
    """
    return itc(items, partners, scale, alike)
