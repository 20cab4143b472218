"""Attention over the entries of a sparse matrix: how much of its neighbours a node takes.

The share of entry (r, c) is e^{x_r·y_c} / Σ_c' e^{x_r·y_c'}, over the entries of row r. Vectors
here have norm 1, so no exponent is above 1: the usual subtraction of the largest is not needed.
"""

from __future__ import annotations

from typing import Any

import torch

from mmx.recommend.blocks.graph import Sparse, products_at, sum_rows

SMALL = 1e-12  # least sum of weights that is divided by; a row with entries has more


def entry_products(left: torch.Tensor, right: torch.Tensor, matrix: Sparse) -> torch.Tensor:
    """x_r · y_c of each entry → (entries,) in CSR order, of (rows, k) and (columns, k) vectors.

    The backward pass is two products with the matrix; no (entries, k) is kept.
    """
    return _EntryProducts.apply(left, right, matrix)


class _EntryProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, left: torch.Tensor, right: torch.Tensor, matrix: Sparse) -> torch.Tensor:
        ctx.matrix = matrix
        ctx.save_for_backward(left, right)
        return products_at(matrix, left, right)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        left, right = ctx.saved_tensors
        matrix, g = ctx.matrix, gradients[0].contiguous()
        to_left = sum_rows(matrix.indptr, matrix.columns, g, right)
        turned = matrix.turned(g)
        return to_left, sum_rows(matrix.back_indptr, matrix.back_columns, turned, left), None


def of_columns(matrix: Sparse, x: torch.Tensor) -> torch.Tensor:
    """x_c of each entry (r, c) → (entries, m) in CSR order, of (columns, m).

    As F.embedding, whose backward pass sorts the column numbers each time.
    """
    return _OfColumns.apply(matrix, x)


class _OfColumns(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Sparse, x: torch.Tensor) -> torch.Tensor:
        ctx.matrix = matrix
        return x.index_select(0, matrix.columns)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        matrix, g = ctx.matrix, gradients[0].contiguous()
        ones = torch.ones_like(matrix.values)
        return None, sum_rows(matrix.back_indptr, matrix.back_order, ones, g)


def attended(
    matrix: Sparse, weights: torch.Tensor, x: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean of each row's neighbours, weighed by (entries,) ``weights`` > 0, and their sums.

    ``x`` is (columns, k); returns (rows, k) and (rows,). A row without entries has zeros.
    """
    return _Attended.apply(matrix, weights, x)


class _Attended(torch.autograd.Function):
    """y_r = Σ_c w_rc x_c / d_r, d_r = Σ_c w_rc: so ∂w_rc = g_r · (x_c - y_r) / d_r + ∂d_r."""

    @staticmethod
    def forward(
        ctx: Any, matrix: Sparse, weights: torch.Tensor, x: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        sums = weights.new_zeros(matrix.shape[0]).index_add_(0, matrix.rows, weights)
        means = sum_rows(matrix.indptr, matrix.columns, weights, x)
        means /= sums.clamp(min=SMALL)[:, None]
        ctx.matrix = matrix
        ctx.save_for_backward(weights, x, means, sums)
        return means, sums

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        weights, x, means, sums = ctx.saved_tensors
        matrix, (to_means, to_sums) = ctx.matrix, gradients
        scaled = to_means / sums.clamp(min=SMALL)[:, None]  # (rows, k)
        each = to_sums - (scaled * means).sum(1)  # (rows,)
        to_weights = products_at(matrix, scaled, x).add_(each.index_select(0, matrix.rows))
        turned = matrix.turned(weights)
        return None, to_weights, sum_rows(matrix.back_indptr, matrix.back_columns, turned, scaled)
