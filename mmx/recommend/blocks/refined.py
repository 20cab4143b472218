"""Layers of a graph that count as much as they resemble the nodes' own embeddings.

Zhou et al., "Layer-refined Graph Convolutional Networks for Recommendation", ICDE 2023; COHESION
has the same in each of its networks.
"""

from __future__ import annotations

from typing import Any

import torch

SMALL = 1e-8  # least norm that a vector is divided by


def refined(layer: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Rows of ``layer`` (n, k) times their cosines with those of ``own`` (n, k), of norm 1.

    A zero row stays zero.
    """
    return _Refined.apply(layer, own)


class _Refined(torch.autograd.Function):
    """y = c z with c = z·e/‖z‖ row by row, of (n, k) z and e of norm 1; a zero row stays zero.

    With s = g·z/‖z‖ of the gradient g: ∂z = c g + s (e - c z/‖z‖) and ∂e = s z. Written out,
    since a cosine of the library makes many more passes over all nodes.
    """

    @staticmethod
    def forward(ctx: Any, z: torch.Tensor, e: torch.Tensor) -> torch.Tensor:
        inverse = 1 / torch.linalg.vector_norm(z, dim=1, keepdim=True).clamp_(min=SMALL)
        cosine = (z * e).sum(1, keepdim=True) * inverse  # (n, 1)
        ctx.save_for_backward(z, e, inverse, cosine)
        return z * cosine

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        (g,) = gradients
        z, e, inverse, cosine = ctx.saved_tensors
        s = (g * z).sum(1, keepdim=True) * inverse  # (n, 1)
        to_z = (g * cosine).addcmul_(e, s).addcmul_(z, s * cosine * inverse, value=-1)
        return to_z, z * s
