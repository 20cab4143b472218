"""Losses that several papers share."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def bpr_loss(positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
    """Bayesian personalised ranking: mean of -ln σ(x_ui - x_uj) over (B,) scores each.

    Rendle et al., UAI 2009, BPR-Opt (section 4.1), without the regulariser.
    """
    assert positive.shape == negative.shape == positive.shape[:1]  # no silent broadcast
    return -F.logsigmoid(positive - negative).mean()


def l2_of_batch(*parts: torch.Tensor) -> torch.Tensor:
    """½ Σ‖part‖² / B over the (B, …) parameters that a batch of B triples touches."""
    rows = parts[0].shape[0]
    return torch.stack([part.square().sum() for part in parts]).sum() / (2 * rows)


def in_batch(left: torch.Tensor, right: torch.Tensor, temperature: float) -> torch.Tensor:
    """InfoNCE: -mean ln softmax(left rightᵀ / τ) at the matching pairs of (B, k) rows each.

    Row b of ``right`` is the positive of row b of ``left``, all others are its negatives
    (van den Oord et al., arXiv 1807.03748, equation 4).
    """
    assert left.shape == right.shape
    target = torch.arange(len(left), device=left.device)
    return F.cross_entropy(left @ right.T / temperature, target)
