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


def attended(matrix: Sparse, weights: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """The mean of each row's neighbours, weighed by (entries,) ``weights`` > 0 → (rows, k).

    ``x`` is (columns, k); a row without entries has zeros.
    """
    sums = matrix(torch.cat([x, torch.ones_like(x[:, :1])], 1), weights)  # (rows, k + 1)
    return sums[:, :-1] / sums[:, -1:].clamp(min=SMALL)


def shares(matrix: Sparse, weights: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Those weights over their row's sum → (entries,). ``rows`` are the matrix's own."""
    sums = matrix(weights.new_ones(matrix.shape[1], 1), weights)[:, 0]
    return weights / sums[rows]
