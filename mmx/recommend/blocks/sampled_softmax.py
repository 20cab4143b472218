"""Softmax of each row's positive against items drawn for that row alone."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from mmx.recommend.blocks.at_once import numbers_at_once
from mmx.recommend.blocks.graph import row_starts, sum_rows

NUMBERS_AT_ONCE = 2 << 20  # of gathered vectors; fit the cache


def sampled_softmax(
    left: torch.Tensor, right: torch.Tensor, columns: torch.Tensor, temperature: float
) -> torch.Tensor:
    """The mean over rows b of -ln softmax_c(left_b · right_c / τ) at the first of ``columns[b]``.

    ``left`` is (B, k), ``right`` (N, k), ``columns`` (B, 1 + n) numbers of rows of ``right``, the
    positive before its n negatives. The (B, 1 + n, k) vectors are gathered block by block and not
    kept: the gradients, made with the loss, are a (B, k) and an (N, k) matrix.
    """
    assert left.shape[1:] == right.shape[1:]
    assert columns.shape[:1] == left.shape[:1]
    return _SampledSoftmax.apply(left, right, columns, temperature)


class _SampledSoftmax(torch.autograd.Function):
    """With p the softmax less 1 at the positive: ∂left_b = Σ_c p_bc right_c / (τ B), and so on."""

    @staticmethod
    def forward(
        ctx: Any,
        left: torch.Tensor,
        right: torch.Tensor,
        columns: torch.Tensor,
        temperature: float,
    ) -> torch.Tensor:
        a, b = left.float(), right.float()
        numbers = numbers_at_once(NUMBERS_AT_ONCE, b)
        at_once = max(1, numbers // (b.shape[1] * columns.shape[1]))
        scale, total = 1 / (temperature * len(a)), a.new_zeros(())
        to_a, excess = [], []
        with torch.autocast(left.device.type, enabled=False):
            for rows, which in zip(a.split(at_once), columns.split(at_once), strict=True):
                found = F.embedding(which, b)  # (rows, 1 + n, k)
                logits = torch.bmm(found, rows[:, :, None])[:, :, 0] / temperature
                logs = logits.log_softmax(1)  # (rows, 1 + n)
                total -= logs[:, 0].sum()
                p = logs.exp_()
                p[:, 0] -= 1
                to_a.append(torch.bmm(p[:, None], found)[:, 0])
                excess.append(p)
            to_right = _by_column(columns, torch.cat(excess) * scale, a, len(b))
        ctx.save_for_backward((torch.cat(to_a) * scale).to(left.dtype), to_right.to(right.dtype))
        return total / len(a)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        to_left, to_right = ctx.saved_tensors
        return to_left * gradients[0], to_right * gradients[0], None, None


def _by_column(
    columns: torch.Tensor, values: torch.Tensor, x: torch.Tensor, count: int
) -> torch.Tensor:
    """Row c: Σ of values[b, n] · x[b] where columns[b, n] is c → (count, k).

    A product with a sparse matrix: sorted once, where adding up row by row would write (B n, k)
    numbers, and on an accelerator in no fixed order.
    """
    order = torch.argsort(columns.flatten())  # (B n,)
    starts = row_starts(columns.flatten(), count)
    return sum_rows(starts, order // columns.shape[1], values.flatten()[order], x)
