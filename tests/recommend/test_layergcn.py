"""LayerGCN against loops in float64."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F

from mmx.errors import OptionError
from tests.recommend.slow import kept_pairs, step
from tests.recommend.toy import N_USERS, TAKEN, same_scores, same_step, toy_model

REG = 0.03
Taken = Mapping[int, list[int]]


def refined(p: Mapping[str, torch.Tensor], layers: int, taken: Taken = TAKEN) -> list[torch.Tensor]:
    """Σ over the layers after the first, each row times its cosine with its own embedding."""
    own = list(p["nodes"])
    layer, total = own, [torch.zeros_like(x) for x in own]
    for _ in range(layers):
        layer = [
            x * (x @ e / (x.norm() * e.norm())) if x.detach().any() else torch.zeros_like(e)
            for x, e in zip(step(layer, taken), own, strict=True)
        ]
        total = [t + x for t, x in zip(total, layer, strict=True)]
    return total


def loss(
    p: Mapping[str, torch.Tensor], batch: list, layers: int, taken: Taken = TAKEN
) -> torch.Tensor:
    """BPR and ½λ‖·‖² of the own embeddings, the mean over the batch."""
    final, own = refined(p, layers, taken), p["nodes"]
    total = torch.zeros((), dtype=torch.float64)
    for u, i, j in batch:
        difference = final[u] @ final[N_USERS + i] - final[u] @ final[N_USERS + j]
        total = total - F.logsigmoid(difference) / len(batch)
        for node in (u, N_USERS + i, N_USERS + j):
            total = total + REG * (own[node] @ own[node]) / (2 * len(batch))
    return total


def scores(p: Mapping[str, torch.Tensor], layers: int) -> torch.Tensor:
    nodes = torch.stack(refined(p, layers))
    return nodes[:N_USERS] @ nodes[N_USERS:].T


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_it_equals_the_reference(layers: int) -> None:
    model = toy_model("layergcn", layers=layers, dim=4, reg=REG)
    same_step(model, lambda p, batch: loss(p, batch, layers))
    same_scores(model, lambda p: scores(p, layers))


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_a_step_takes_the_pruned_graph_and_scores_the_whole_one(share: float) -> None:
    model = toy_model("layergcn", layers=3, dim=4, reg=REG, pruned=share)
    model.epoch_start(torch.Generator().manual_seed(0))
    taken = kept_pairs(model._pruned)
    assert taken != TAKEN
    same_step(model, lambda p, batch: loss(p, batch, 3, taken))
    same_scores(model, lambda p: scores(p, 3))


def test_one_layer_without_pruning_is_one_step_weighed_by_its_cosine() -> None:
    model = toy_model("layergcn", layers=1, dim=4, pruned=0.0)
    model.epoch_start(torch.Generator())
    with torch.no_grad():
        found = torch.cat(model.factors())
        once = model.graph(model.nodes)
        expected = once * F.cosine_similarity(once, model.nodes)[:, None]
    torch.testing.assert_close(found, expected)


def test_of_an_item_nobody_took_nothing_is_known() -> None:
    model = toy_model("layergcn", dim=4)
    with torch.no_grad():
        _, items = model.factors()
    assert items.any(1).tolist() == [True] * 8 + [False]


def test_it_refuses_to_have_no_layer() -> None:
    with pytest.raises(OptionError, match="layers"):
        toy_model("layergcn", layers=0)
