"""FREEDOM against loops in float64."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F

from mmx.errors import OptionError
from tests.recommend.slow import feature, frozen_rows, kept_pairs, propagated
from tests.recommend.toy import N_ITEMS, N_USERS, TAKEN, same_scores, same_step, toy_model

K, WEIGHT = 3, 0.4
SETTINGS = {"dim": 4, "neighbours": K, "content_weight": WEIGHT}
SHARES = {
    ("image",): {"image": 1.0},
    ("image", "text"): {"image": 0.1, "text": 0.9},
    ("image", "text", "audio"): {"image": 0.1, "text": 0.45, "audio": 0.45},
}
Taken = Mapping[int, list[int]]
Parameters = Mapping[str, torch.Tensor]


def finals(
    p: Parameters, shares: Mapping[str, float], taken: Taken, item_layers: int, normalise: bool
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Section 3.3: users' x̂, and items' x̂ + S^L x."""
    nodes, graph = propagated(p, 2, taken), frozen_rows(shares, K, normalise=normalise)
    h = [p["nodes"][N_USERS + i] for i in range(N_ITEMS)]
    for _ in range(item_layers):
        h = [
            sum((graph[i, j] * h[j] for j in range(N_ITEMS)), torch.zeros(4, dtype=torch.float64))
            for i in range(N_ITEMS)
        ]
    return nodes[:N_USERS], [nodes[N_USERS + i] + h[i] for i in range(N_ITEMS)]


def projected(p: Parameters, name: str, item: int, normalise: bool) -> torch.Tensor:
    """W f + b, whatever b: it cancels."""
    f = feature(p[f"content.{name}.default"], name, item, normalise)
    return torch.stack([row @ f for row in p[f"project.{name}"]]) + 3.0


def loss(
    p: Parameters,
    batch: list[tuple[int, int, int]],
    shares: Mapping[str, float],
    taken: Taken = TAKEN,
    item_layers: int = 1,
    normalise: bool = True,
) -> torch.Tensor:
    """BPR and λ times that of every modality, the mean over the batch."""
    users, items = finals(p, shares, taken, item_layers, normalise)
    total = torch.zeros((), dtype=torch.float64)
    for u, i, j in batch:
        total = total - F.logsigmoid(users[u] @ items[i] - users[u] @ items[j]) / len(batch)
        for name in shares:
            f_i, f_j = (projected(p, name, item, normalise) for item in (i, j))
            total = total - WEIGHT * F.logsigmoid(users[u] @ f_i - users[u] @ f_j) / len(batch)
    return total


def scores(p: Parameters, shares: Mapping[str, float], *more: object) -> torch.Tensor:
    """Over all that was taken."""
    users, items = finals(p, shares, TAKEN, *(more or (1, True)))  # type: ignore[arg-type]
    return torch.stack(users) @ torch.stack(items).T


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("item_layers", [0, 1, 2])
@pytest.mark.parametrize("names", SHARES)
def test_it_equals_the_reference(names: tuple[str, ...], item_layers: int, normalise: bool) -> None:
    shares = SHARES[names]
    model = toy_model("freedom", *names, item_layers=item_layers, normalise=normalise, **SETTINGS)
    same_step(model, lambda p, b: loss(p, b, shares, TAKEN, item_layers, normalise))
    same_scores(model, lambda p: scores(p, shares, item_layers, normalise))


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_step_takes_the_pruned_graph_and_scores_the_whole_one(share: float) -> None:
    names = ("image", "text")
    model = toy_model("freedom", *names, pruned=share, **SETTINGS)
    model.epoch_start(torch.Generator().manual_seed(0))
    taken = kept_pairs(model._pruned)
    assert sum(map(len, taken.values())) == int((1 - share) * 16 + 1e-9)
    same_step(model, lambda p, b: loss(p, b, SHARES[names], taken))
    same_scores(model, lambda p: scores(p, SHARES[names]))
    model.epoch_start(torch.Generator().manual_seed(1))
    assert kept_pairs(model._pruned) != taken


def test_without_pruning_and_content_it_is_lightgcn_and_the_neighbours_mean() -> None:
    names = ("image", "text")
    model = toy_model("freedom", *names, dim=4, neighbours=K, pruned=0.0, content_weight=0.0)
    plain = toy_model("lightgcn", dim=4, layers=2)
    plain.load_state_dict({"nodes": model.nodes.data})
    model.epoch_start(torch.Generator())
    with torch.no_grad():
        (users, items), (same, others) = model.factors(), plain.factors()
        own = model.nodes[N_USERS:].double()
    graph = frozen_rows(SHARES[names], K, normalise=True)
    torch.testing.assert_close(users, same)
    torch.testing.assert_close((items - others).double(), graph @ own, rtol=1e-5, atol=1e-6)
    still = tuple(name for name, _ in model.named_parameters() if not name.startswith("nodes"))
    same_step(model, lambda p, b: _bpr_alone(p, b, names), still)


def _bpr_alone(p: Parameters, batch: list, names: tuple[str, ...]) -> torch.Tensor:
    users, items = finals(p, SHARES[names], TAKEN, 1, True)
    return sum(
        (-F.logsigmoid(users[u] @ (items[i] - items[j])) for u, i, j in batch),
        torch.zeros((), dtype=torch.float64),
    ) / len(batch)


def test_weights_of_modalities_can_be_given() -> None:
    model = toy_model("freedom", "image", "text", weights="image:3,text:1", **SETTINGS)
    shares = {"image": 0.75, "text": 0.25}
    same_scores(model, lambda p: scores(p, shares))


def test_an_item_without_any_vector_keeps_its_own_embedding() -> None:
    model = toy_model("freedom", "image", "text", **SETTINGS)
    with torch.no_grad():
        _, items = model.factors()
        plain = torch.stack(propagated({"nodes": model.nodes.double()}, 2))[N_USERS:]
    torch.testing.assert_close(items[3].double(), plain[3], rtol=1e-5, atol=1e-6)


def test_it_refuses_a_world_without_features_and_odd_settings() -> None:
    with pytest.raises(OptionError, match="--features"):
        toy_model("freedom")
    with pytest.raises(OptionError, match="pruned"):
        toy_model("freedom", "image", pruned=1.0)
    with pytest.raises(OptionError, match="no modality 'text'"):
        toy_model("freedom", "image", weights="text:1")
