"""LATTICE against loops in float64."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmx.errors import OptionError
from tests.recommend.slow import propagated
from tests.recommend.toy import (
    N_ITEMS,
    N_USERS,
    same_scores,
    same_step,
    toy_features,
    toy_model,
    triples,
    vectors64,
)

K, SHARE, REG = 3, 0.6, 0.05
SETTINGS = {"dim": 4, "feature_dim": 3, "neighbours": K, "frozen": SHARE, "reg": REG}
MODALITIES = [("image",), ("image", "text"), ("image", "text", "audio")]


def knn(vectors: list[torch.Tensor], present: np.ndarray) -> torch.Tensor:
    """Equations 1 to 3: the normalised k-NN matrix of some items' vectors."""
    full = torch.zeros(N_ITEMS, N_ITEMS, dtype=torch.float64)
    known = [i for i in range(N_ITEMS) if present[i]]
    unit = {i: vectors[i] / vectors[i].norm() for i in known}
    for i in known:
        nearest = sorted(known, key=lambda j: -(unit[i] @ unit[j]).item())[:K]
        for j in nearest:
            full[i, j] = torch.relu(unit[i] @ unit[j])
    degree = full.sum(1)
    scaled = torch.zeros_like(full)
    for i in known:
        for j in known:
            scaled[i, j] = full[i, j] / (degree[i] * degree[j]) ** 0.5
    return scaled


def item_graph(
    p: Mapping[str, torch.Tensor], names: tuple[str, ...], normalise: bool
) -> torch.Tensor:
    """Equations 4 to 6."""
    total = torch.zeros(N_ITEMS, N_ITEMS, dtype=torch.float64)
    alphas = torch.exp(p["importance"]) / torch.exp(p["importance"]).sum()
    for alpha, name in zip(alphas, sorted(names), strict=True):
        present, raw = toy_features(name)[name].present, vectors64(name, normalise)
        w, b = p[f"modalities.{name}.weight"], p[f"modalities.{name}.bias"]
        projected = [w @ row + b for row in raw]
        frozen, learned = knn(raw, present), knn(projected, present)
        total = total + alpha * (SHARE * frozen + (1 - SHARE) * learned)
    return total


def finals(
    p: Mapping[str, torch.Tensor], names: tuple[str, ...], item_layers: int, normalise: bool
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Equations 7 and 8 over LightGCN's embeddings."""
    nodes = propagated(p, 2)
    h, adjacency = p["nodes"][N_USERS:], item_graph(p, names, normalise)
    for _ in range(item_layers):
        h = torch.stack(
            [sum((adjacency[i, j] * h[j] for j in range(N_ITEMS)), torch.zeros(4))
             for i in range(N_ITEMS)]
        )  # fmt: skip
    items = []
    for i in range(N_ITEMS):
        alone = not bool(adjacency[i].any())
        items.append(nodes[N_USERS + i] + (0 if alone else h[i] / h[i].norm()))
    return nodes[:N_USERS], items


def loss(
    p: Mapping[str, torch.Tensor],
    batch: list,
    names: tuple[str, ...],
    item_layers: int,
    normalise: bool,
) -> torch.Tensor:
    """Equation 10 with the mean over the batch."""
    users, items = finals(p, names, item_layers, normalise)
    total = torch.zeros((), dtype=torch.float64)
    for u, i, j in batch:
        total = total - F.logsigmoid(users[u] @ items[i] - users[u] @ items[j]) / len(batch)
        for vector in (users[u], items[i], items[j]):
            total = total + REG * (vector @ vector) / (2 * len(batch))
    return total


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("item_layers", [1, 2])
@pytest.mark.parametrize("names", MODALITIES)
def test_it_equals_the_reference(names: tuple[str, ...], item_layers: int, normalise: bool) -> None:
    given = (names, item_layers, normalise)
    model = toy_model("lattice", *names, item_layers=item_layers, normalise=normalise, **SETTINGS)
    still = () if len(names) > 1 else ("importance",)  # the softmax of one number
    same_step(model, lambda p, batch: loss(p, batch, *given), still)

    def scores(p: Mapping[str, torch.Tensor]) -> torch.Tensor:
        users, items = finals(p, *given)
        return torch.stack(users) @ torch.stack(items).T

    same_scores(model, scores)


def test_only_the_first_step_of_an_epoch_reaches_the_projections() -> None:
    model = toy_model("lattice", "image", "text", **SETTINGS)
    generator = torch.Generator()
    reached = []
    for start in (True, False, True):
        if start:
            model.epoch_start(generator)
        model.zero_grad()
        model.loss(*triples()).backward()
        reached.append(model.modalities["image"].weight.grad is not None)
    assert reached == [True, False, True]


def test_later_steps_keep_the_graph_of_the_first() -> None:
    model = toy_model("lattice", "image", **SETTINGS)
    first = model.loss(*triples()).detach()
    with torch.no_grad():
        model.modalities["image"].weight.neg_().add_(1)
    assert model.loss(*triples()).item() == pytest.approx(first.item())
    model.epoch_start(torch.Generator())
    assert model.loss(*triples()).item() != pytest.approx(first.item(), rel=1e-4)


def test_scoring_leaves_the_graph_of_the_epoch_alone() -> None:
    model = toy_model("lattice", "image", **SETTINGS)
    model.loss(*triples())
    kept = model._mined
    with torch.no_grad():
        model.factors()
    assert model._mined is kept


def test_an_item_without_any_vector_keeps_its_own_embedding() -> None:
    model = toy_model("lattice", "image", "text", **SETTINGS)
    with torch.no_grad():
        _, items = model.factors()
        plain = torch.stack(propagated({"nodes": model.nodes.double()}, 2))[N_USERS:]
    difference = (items - plain).norm(dim=1)
    torch.testing.assert_close(difference[3].item(), 0.0, atol=1e-6, rtol=0)
    others = [i for i in range(N_ITEMS) if i != 3]
    torch.testing.assert_close(difference[others], torch.ones(8, dtype=torch.float64))


def test_it_refuses_a_world_without_features_and_odd_settings() -> None:
    with pytest.raises(OptionError, match="--features"):
        toy_model("lattice")
    with pytest.raises(OptionError, match="frozen"):
        toy_model("lattice", "image", frozen=1.5)
    with pytest.raises(OptionError, match="neighbours"):
        toy_model("lattice", "image", neighbours=0)
