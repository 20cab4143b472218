"""Modalities of a node joined by attention and by what its behaviour prefers.

Yu, Tan, Lu and Bao, "Multi-View Graph Convolutional Network for Multimedia Recommendation",
MM 2023 (arXiv 2308.03588), the behaviour-aware fuser; GUME has the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch

Layer = Callable[[torch.Tensor], torch.Tensor]


def fused(
    views: Sequence[torch.Tensor],
    behaviour: torch.Tensor,
    attend: Layer,
    query: torch.Tensor,
    prefer: Iterable[Layer],
) -> torch.Tensor:
    """(n, k) of each of M modalities, (n, k) of the behaviour ē → (n, k).

    c = Σ_m softmax_m(qᵀ tanh(Q x_m)) x_m,
    (c + Σ_m σ(P_m ē) ⊙ (x_m - c)) / (M + 1)

    ``attend`` is Q, ``query`` q (1, k), ``prefer`` the P_m in the order of ``views``.
    """
    scores = [torch.tanh(attend(x)) @ query.T for x in views]  # (n, 1) each
    shares = torch.cat(scores, 1).float().softmax(1)[:, :, None]  # (n, M, 1)
    common = (shares * torch.stack(list(views), 1)).sum(1)  # c
    total = common
    for x, gate in zip(views, prefer, strict=True):
        total = total + torch.sigmoid(gate(behaviour)).float() * (x - common)
    return total / (1 + len(views))
