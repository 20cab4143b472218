"""What references of several graph models share, on the toy world, in loops."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from tests.recommend.toy import N_ITEMS, N_USERS, TAKEN


def user_sums(items: list[torch.Tensor]) -> list[torch.Tensor]:
    """Each user's items, one step of propagation: Σ_i x_i / √(d_u d_i)."""
    takers = [sum(i in taken for taken in TAKEN.values()) for i in range(N_ITEMS)]
    zero = torch.zeros_like(items[0])
    return [
        sum((items[i] / (len(TAKEN[u]) * takers[i]) ** 0.5 for i in TAKEN[u]), zero)
        for u in range(N_USERS)
    ]


def lookalikes(vectors: list[torch.Tensor], present: np.ndarray, k: int) -> torch.Tensor:
    """Each item's k nearest by cosine, weighed by it, D^-½ S D^-½; an absent item has itself."""
    full = torch.zeros(N_ITEMS, N_ITEMS, dtype=torch.float64)
    known = [i for i in range(N_ITEMS) if present[i]]
    unit = {i: vectors[i] / vectors[i].norm() for i in known}
    for i in known:
        for j in sorted(known, key=lambda j: -(unit[i] @ unit[j]).item())[:k]:
            full[i, j] = max((unit[i] @ unit[j]).item(), 0)
    for i in range(N_ITEMS):
        if not present[i]:
            full[i, i] = 1
    degree = [sum(full[i].tolist()) for i in range(N_ITEMS)]
    for i in range(N_ITEMS):
        for j in range(N_ITEMS):
            full[i, j] = full[i, j] / (degree[i] * degree[j]) ** 0.5
    return full


def linear(p: Mapping[str, torch.Tensor], name: str, x: torch.Tensor) -> torch.Tensor:
    """W x + b."""
    return p[f"{name}.weight"] @ x + p[f"{name}.bias"]


def cosine(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """0 where one of the two is zero."""
    return (a @ b) / (a.norm() * b.norm()).clamp(min=1e-30)


def contrast(left: list[torch.Tensor], right: list[torch.Tensor], tau: float) -> torch.Tensor:
    """InfoNCE: the mean over rows of -ln(e^{cos(a_i, b_i)/τ} / Σ_j e^{cos(a_i, b_j)/τ})."""
    rows = []
    for i, a in enumerate(left):
        each = [torch.exp(cosine(a, b) / tau) for b in right]
        rows.append(-torch.log(each[i] / sum(each)))
    return sum(rows) / len(rows)
