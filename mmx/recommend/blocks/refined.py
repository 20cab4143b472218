"""Layers of a graph that count as much as they resemble the nodes' own embeddings.

Zhou et al., "Layer-refined Graph Convolutional Networks for Recommendation", ICDE 2023; COHESION
has the same in each of its networks.
"""

from __future__ import annotations

from typing import Any

import torch

from mmx.recommend.blocks.graph import Sparse, sum_rows

SMALL = 1e-8  # least norm that a vector is divided by


def refined_sum(graph: Sparse, start: torch.Tensor, own: torch.Tensor, layers: int) -> torch.Tensor:
    """Σ_{l=1…L} x^l, x^0 = ``start``, x^l = cos(A x^{l-1}, own) A x^{l-1} row by row → (n, N k).

    ``start`` (n, N k) has N vectors of each node, ``own`` (n N, k) theirs of norm 1. A zero row
    stays zero. Gradients go to ``start`` and ``own``.
    """
    return _RefinedSum.apply(start, own, graph, layers)


class _RefinedSum(torch.autograd.Function):
    """With z = A x and s = g·z/‖z‖ of x's gradient g: ∂z = c g + s (e - c z/‖z‖), ∂e = s z.

    Written out over all layers: sums are made in place, and the last layer is only added. A
    cosine of the library, and autograd's own sums, make many more passes over all nodes.
    """

    @staticmethod
    def forward(
        ctx: Any, start: torch.Tensor, e: torch.Tensor, graph: Sparse, layers: int
    ) -> torch.Tensor:
        x, total, kept = start, torch.zeros_like(start), []
        for layer in range(layers):
            z = sum_rows(graph.indptr, graph.columns, graph.values, x).view_as(e)
            inverse = torch.linalg.vector_norm(z, dim=1, keepdim=True).clamp_(min=SMALL)
            inverse.reciprocal_()
            cosine = (z * e).sum(1, keepdim=True).mul_(inverse)  # (n N, 1)
            kept += [z, inverse, cosine]
            if layer < layers - 1:
                x = (z * cosine).view_as(start)
                total += x
            else:
                total.view_as(e).addcmul_(z, cosine)
        ctx.graph = graph
        ctx.save_for_backward(e, *kept)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        e, *kept = ctx.saved_tensors
        whole, graph = gradients[0].contiguous(), ctx.graph  # of the sum, so of every layer
        to_e, to_x = torch.zeros_like(e), None
        while kept:
            *kept, z, inverse, cosine = kept
            g = (whole if to_x is None else to_x.add_(whole)).view_as(e)
            s = (g * z).sum(1, keepdim=True).mul_(inverse)  # (n N, 1)
            to_e.addcmul_(z, s)
            to_z = (g * cosine).addcmul_(e, s).addcmul_(z, s * cosine * inverse, value=-1)
            to_x = sum_rows(graph.back_indptr, graph.back_columns, graph.back_values,
                            to_z.view_as(whole))  # fmt: skip
        return to_x, to_e, None, None
