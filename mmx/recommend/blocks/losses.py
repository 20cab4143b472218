"""Losses that several papers share."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from mmx.recommend.blocks.at_once import numbers_at_once

ENTRIES_AT_ONCE = 1 << 19  # of the logits of ``against_all``: what a processor's cache holds
NARROW = 16  # columns
TINY = torch.finfo(torch.float32).tiny


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


def in_batch(
    left: torch.Tensor,
    right: torch.Tensor,
    temperature: float,
    place: torch.Tensor,
    counts: torch.Tensor,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """InfoNCE: the mean over rows b of -ln softmax(left rightᵀ / τ) at column ``place[b]``.

    A batch's positives are its columns, those of the other rows being a row's negatives (van den
    Oord et al., arXiv 1807.03748, equation 4). An item that is the positive of several rows is
    one row of ``right`` (n, k) and counts ``counts`` (n,) times in the sum, which may be 0;
    ``weights`` (B,) do the same for the rows of ``left`` (B, k).
    """
    assert left.shape[1:] == right.shape[1:]
    weights = torch.ones_like(place) if weights is None else weights
    return _InBatch.apply(left, right, temperature, place, counts, weights / weights.sum())


def contrast_of_nodes(
    left: torch.Tensor, right: torch.Tensor, temperature: float, counts: torch.Tensor
) -> torch.Tensor:
    """InfoNCE of two views (n, k) of the same nodes by cosine, their rows brought to norm 1.

    Node r is in ``counts[r]`` rows of the batch, among them and among each row's negatives.
    """
    each = torch.arange(len(left), device=left.device)
    return in_batch(F.normalize(left), F.normalize(right), temperature, each, counts, counts)


class _InBatch(torch.autograd.Function):
    """Two (B, n) matrices, where the usual expression makes eight of them."""

    @staticmethod
    def forward(
        ctx: Any,
        left: torch.Tensor,
        right: torch.Tensor,
        temperature: float,
        place: torch.Tensor,
        counts: torch.Tensor,
        weights: torch.Tensor,
    ) -> torch.Tensor:
        half = torch.is_autocast_enabled(left.device.type)
        a, b = (x.bfloat16() if half else x for x in (left / temperature, right))  # (B, k), (n, k)
        with torch.autocast(left.device.type, enabled=False):
            chances = torch.addmm(counts.log().to(a.dtype), a, b.T).softmax(1)  # (B, n)
        matched = chances.gather(1, place[:, None])[:, 0].float()  # (B,)
        matched = (matched / counts[place].clamp(min=1)).clamp(min=TINY)
        ctx.temperature, ctx.types = temperature, (left.dtype, right.dtype)
        ctx.save_for_backward(a, b, chances, place, weights)
        return -(weights * matched.log()).sum()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        a, b, chances, place, weights = ctx.saved_tensors
        mine = (weights * gradients[0])[:, None]  # (B, 1) gradient of each row's loss
        to_a = (chances @ b - b[place]).float() * mine  # (B, k)
        to_b = (chances.T @ (a * mine.to(a.dtype))).float()  # (n, k)
        to_b.index_add_(0, place, mine * a.float(), alpha=-1)
        left, right = ctx.types
        return (to_a / ctx.temperature).to(left), to_b.to(right), None, None, None, None


def against_all(
    left: torch.Tensor,
    right: torch.Tensor,
    temperature: float,
    place: torch.Tensor,
    weights: torch.Tensor,
) -> torch.Tensor:
    """InfoNCE against a whole table: Σ_r w_r · -ln softmax(left rightᵀ / τ) at column ``place[r]``.

    ``left`` is (n, k), ``right`` (N, k), ``place`` and ``weights`` (n,). No (n, N) matrix is held:
    blocks of rows make the loss and both gradients.
    """
    assert left.shape[1:] == right.shape[1:]
    return _AgainstAll.apply(left, right, temperature, place, weights)


class _AgainstAll(torch.autograd.Function):
    """The gradients are those of a loss of weight 1, made with it; backward only scales them."""

    @staticmethod
    def forward(
        ctx: Any,
        left: torch.Tensor,
        right: torch.Tensor,
        temperature: float,
        place: torch.Tensor,
        weights: torch.Tensor,
    ) -> torch.Tensor:
        half = torch.is_autocast_enabled(left.device.type)
        a, b = (x.bfloat16() if half else x for x in (left / temperature, right))  # (n, k), (N, k)
        at_once = max(1, numbers_at_once(ENTRIES_AT_ONCE, b) // len(b))
        blocks = zip(*(x.split(at_once) for x in (a, place, weights.to(left.dtype))), strict=True)
        total, to_b, to_a = left.new_zeros(()), torch.zeros_like(right), []
        with torch.autocast(left.device.type, enabled=False):
            for rows, column, weight in blocks:
                chances = (rows @ b.T).softmax(1)  # (rows, N)
                matched = chances.gather(1, column[:, None])[:, 0].float().clamp(min=TINY)
                total -= (weight * matched.log()).sum()
                to_a.append((_product(chances, b) - b[column]) * (weight / temperature)[:, None])
                weighed = rows * weight[:, None].to(rows.dtype)
                to_b.add_(_product(chances.T, weighed))
                to_b.index_add_(0, column, weighed.to(to_b.dtype), alpha=-1)
        ctx.save_for_backward(torch.cat(to_a).to(left.dtype), to_b)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        to_left, to_right = ctx.saved_tensors
        return to_left * gradients[0], to_right * gradients[0], None, None, None


def _product(wide: torch.Tensor, narrow: torch.Tensor) -> torch.Tensor:
    """(n, N) @ (N, k) → (n, k), of few columns turned over: three to six times as fast then."""
    return (narrow.T @ wide.T).T if narrow.shape[1] < NARROW else wide @ narrow
