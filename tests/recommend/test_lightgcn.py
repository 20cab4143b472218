"""LightGCN against loops in float64."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F

from tests.recommend.slow import propagated
from tests.recommend.toy import N_USERS, same_scores, same_step, toy_model

REG = 0.03


def loss(p: Mapping[str, torch.Tensor], batch: list, layers: int) -> torch.Tensor:
    """Equation 15 with the mean over the batch."""
    final, first = propagated(p, layers), p["nodes"]
    total = torch.zeros((), dtype=torch.float64)
    for u, i, j in batch:
        difference = final[u] @ final[N_USERS + i] - final[u] @ final[N_USERS + j]
        total = total - F.logsigmoid(difference) / len(batch)
        for node in (u, N_USERS + i, N_USERS + j):
            total = total + REG * (first[node] @ first[node]) / (2 * len(batch))
    return total


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_it_equals_the_reference(layers: int) -> None:
    model = toy_model("lightgcn", layers=layers, dim=4, reg=REG)
    same_step(model, lambda p, batch: loss(p, batch, layers))

    def scores(p: Mapping[str, torch.Tensor]) -> torch.Tensor:
        nodes = torch.stack(propagated(p, layers))
        return nodes[:N_USERS] @ nodes[N_USERS:].T

    same_scores(model, scores)


def test_an_item_nobody_took_keeps_its_own_embedding() -> None:
    model = toy_model("lightgcn", layers=3, dim=4)
    with torch.no_grad():
        _, items = model.factors()
    torch.testing.assert_close(items[8], model.nodes.detach()[N_USERS + 8] / 4)
