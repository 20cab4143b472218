"""What references of DRAGON's family share: a modality's network, users who share items."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from tests.recommend.loops import linear
from tests.recommend.slow import feature, step
from tests.recommend.toy import N_ITEMS, N_USERS, TAKEN

Parameters = Mapping[str, torch.Tensor]


def sharing(count: int) -> torch.Tensor:
    """softmax of the common items with the ``count`` users who share most, lower numbers first."""
    full = torch.zeros(N_USERS, N_USERS, dtype=torch.float64)
    for u in range(N_USERS):
        common = {v: len(set(TAKEN[u]) & set(TAKEN[v])) for v in range(N_USERS) if v != u}
        best = sorted((v for v in common if common[v]), key=lambda v: (-common[v], v))[:count]
        for v in best:
            full[u, v] = math.exp(common[v]) / sum(math.exp(common[w]) for w in best)
    return full


def contents(p: Parameters, name: str, normalise: bool) -> list[torch.Tensor]:
    """Items' vectors of a modality through two layers; those of ``id`` are the model's ids."""
    rows, at = [], "of_ids" if name == "id" else f"content.{name}"
    for i in range(N_ITEMS):
        if name == "id":
            inner = linear(p, f"{at}.0", p["ids"][i])
        else:
            f = feature(p[f"{at}.project.content.default"], name, i, normalise)
            inner = p[f"{at}.project.weight"] @ f + p[f"{at}.project.offset"]
        inner = torch.where(inner > 0, inner, 0.01 * inner)
        rows.append(linear(p, f"{at}.2" if name == "id" else f"{at}.out", inner))
    return rows


def modality(p: Parameters, name: str, layers: int, normalise: bool) -> list[torch.Tensor]:
    """The sum of a modality's layers, users first."""
    rows = [p[f"user.{name}"][u] for u in range(N_USERS)] + contents(p, name, normalise)
    layer = [row / row.norm() for row in rows]
    total = list(layer)
    for _ in range(layers):
        layer = step(layer, TAKEN)
        total = [t + new for t, new in zip(total, layer, strict=True)]
    return total
