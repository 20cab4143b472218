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
