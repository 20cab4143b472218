"""LightGCN's propagation: the mean of a node's layers, (x + A x + … + A^L x) / (L + 1).

He, Deng, Wang, Li, Zhang and Wang, SIGIR 2020, equations 3, 4 and 8. Only the graph's values
are kept for the backward pass, which is the same sum with Aᵀ.
"""

from __future__ import annotations

from typing import Any

import torch

from mmx.recommend.blocks.graph import Sparse, UserItemGraph, sum_rows


def mean_of_layers(
    matrix: Sparse, x: torch.Tensor, layers: int, values: torch.Tensor | None = None
) -> torch.Tensor:
    """The mean of the layers of (nodes, d) → (nodes, d).

    ``values`` are constants here: no gradient flows to them.
    """
    values = matrix.values if values is None else values.detach()
    return _MeanOfLayers.apply(x, values, matrix, layers)


def sum_of_layers(matrix: Sparse, x: torch.Tensor, layers: int) -> torch.Tensor:
    """x + A x + … + A^L x of (nodes, d) → (nodes, d)."""
    return mean_of_layers(matrix, x, layers) * (layers + 1)


class _MeanOfLayers(torch.autograd.Function):
    """By Horner's rule, x + A(x + A(x + …)), in two buffers."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, values: torch.Tensor, matrix: Sparse, layers: int
    ) -> torch.Tensor:
        ctx.matrix, ctx.layers = matrix, layers
        ctx.save_for_backward(values)
        return _horner(matrix.indptr, matrix.columns, values, [x] * (layers + 1))

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (values,) = ctx.saved_tensors
        return _turned(ctx.matrix, values, [gradients[0]] * (ctx.layers + 1)), None, None, None


def mean_by_side(
    graph: UserItemGraph, x: torch.Tensor, layers: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """``mean_of_layers`` in its two parts: what nodes have of their own side, and of the other.

    Every edge joins a user and an item. So what comes to a node in an even number of steps
    started from a node of its own side, what comes in an odd number from one of the other: users
    have their users' part in the first (nodes, d) and their items' part in the second.
    """
    return _MeanBySide.apply(x, graph, layers)


class _MeanBySide(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, graph: UserItemGraph, layers: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        ctx.graph, ctx.layers = graph, layers
        reached = x / (layers + 1)
        parts = [reached.clone()]
        for step in range(1, layers + 1):
            reached = sum_rows(graph.indptr, graph.columns, graph.values, reached)
            if step == 1:
                parts.append(reached)
            else:
                parts[step % 2].add_(reached)
        return parts[0], parts[1] if layers else torch.zeros_like(x)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        terms = [gradients[step % 2] for step in range(ctx.layers + 1)]
        return _turned(ctx.graph, ctx.graph.values, terms), None, None


def _turned(matrix: Sparse, values: torch.Tensor, terms: list[torch.Tensor]) -> torch.Tensor:
    """Σ_l (Aᵀ)^l g_l / (L + 1) of the gradients ``terms`` of the layers."""
    terms = [term.contiguous() for term in terms]
    return _horner(matrix.back_indptr, matrix.back_columns, matrix.turned(values), terms)


def _horner(
    indptr: torch.Tensor, columns: torch.Tensor, values: torch.Tensor, terms: list[torch.Tensor]
) -> torch.Tensor:
    """Σ_l A^l x_l / (L + 1) as x_0 + A(x_1 + A(x_2 + …))."""
    *earlier, total = terms
    for x in reversed(earlier):
        total = sum_rows(indptr, columns, values, total).add_(x)
    return total.div_(len(terms)) if earlier else total.clone()
