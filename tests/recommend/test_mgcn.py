"""MGCN against loops in float64."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmx.errors import OptionError
from mmx.recommend.blocks.item_graph import cosine_graph
from mmx.recommend.features import Features
from tests.recommend.loops import contrast, linear, lookalikes, user_sums
from tests.recommend.slow import propagated
from tests.recommend.toy import (
    ABSENT,
    N_ITEMS,
    N_USERS,
    same_scores,
    same_step,
    toy_features,
    toy_model,
    triples,
    vectors64,
)

Parameters = Mapping[str, torch.Tensor]
K, TAU, SSL, REG = 3, 0.4, 0.3, 0.05
SETTINGS = {"dim": 4, "neighbours": K, "temperature": TAU, "ssl_weight": SSL, "reg": REG}
MODALITIES = [("image",), ("image", "text"), ("image", "text", "audio")]


def view(p: Parameters, name: str, item_layers: int, normalise: bool) -> list[torch.Tensor]:
    """One modality of every node: purified by the id, over the item graph, summed by users."""
    raw, at = vectors64(name, normalise), f"modalities.{name}"
    graph = lookalikes(raw, toy_features(name)[name].present, K)
    items = []
    for i in range(N_ITEMS):
        f = p[f"{at}.project.content.default"] if i in ABSENT[name] else raw[i]
        projected = p[f"{at}.project.weight"] @ f + p[f"{at}.project.offset"]
        gate = torch.sigmoid(linear(p, f"{at}.purify", projected))
        items.append(p["nodes"][N_USERS + i] * gate)
    for _ in range(item_layers):
        items = [
            sum((graph[i, j] * items[j] for j in range(N_ITEMS)), torch.zeros(4))
            for i in range(N_ITEMS)
        ]
    return user_sums(items) + items


def fused(p: Parameters, views: dict[str, torch.Tensor], behaviour: torch.Tensor) -> torch.Tensor:
    """One node's modalities, weighed by attention and by what its behaviour prefers."""
    scores = [p["query"][0] @ torch.tanh(linear(p, "attend", x)) for x in views.values()]
    shares = torch.softmax(torch.stack(scores), 0)  # of one modality: exactly 1, without gradient
    common = sum(share * x for share, x in zip(shares, views.values(), strict=True))
    side = common
    for m, x in views.items():
        side = side + torch.sigmoid(linear(p, f"prefer.{m}", behaviour)) * (x - common)
    return side / (1 + len(views))


def nodes(
    p: Parameters, names: tuple[str, ...], layers: int, item_layers: int, normalise: bool
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The behaviour view and the fused contents of every node."""
    behaviour = propagated(p, layers)
    views = {name: view(p, name, item_layers, normalise) for name in names}
    sides = [
        fused(p, {name: views[name][n] for name in names}, behaviour[n])
        for n in range(N_USERS + N_ITEMS)
    ]
    return behaviour, sides


def loss(p: Parameters, batch: list, *given: Any) -> torch.Tensor:
    behaviour, sides = nodes(p, *given)
    final = [b + s for b, s in zip(behaviour, sides, strict=True)]
    total = torch.zeros((), dtype=torch.float64)
    for u, i, j in batch:
        user, taken, other = final[u], final[N_USERS + i], final[N_USERS + j]
        total = total - F.logsigmoid(user @ taken - user @ other) / len(batch)
        for vector in (user, taken, other):
            total = total + REG * (vector @ vector) / (2 * len(batch))
    for numbers in ([u for u, _, _ in batch], [N_USERS + i for _, i, _ in batch]):
        left, right = [sides[n] for n in numbers], [behaviour[n] for n in numbers]
        total = total + SSL * contrast(left, right, TAU)
    return total


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize(("layers", "item_layers"), [(2, 1), (1, 2), (0, 0)])
@pytest.mark.parametrize("names", MODALITIES)
def test_it_equals_the_reference(
    names: tuple[str, ...], layers: int, item_layers: int, normalise: bool
) -> None:
    given = (names, layers, item_layers, normalise)
    settings = {**SETTINGS, "layers": layers, "item_layers": item_layers, "normalise": normalise}
    model = toy_model("mgcn", *names, **settings)
    one = ("attend.weight", "attend.bias", "query")  # of one modality: its softmax is 1
    gates = tuple(f"prefer.{names[0]}.{part}" for part in ("weight", "bias"))
    same_step(model, lambda p, b: loss(p, b, *given), () if len(names) > 1 else one + gates)

    def scores(p: Parameters) -> torch.Tensor:
        final = torch.stack([torch.stack(part) for part in nodes(p, *given)]).sum(0)
        return final[:N_USERS] @ final[N_USERS:].T

    same_scores(model, scores)


def test_with_contents_that_say_nothing_it_is_lightgcn() -> None:
    model = toy_model("mgcn", "image", "text", dim=4, layers=3)
    with torch.no_grad():
        for modality in model.modalities.values():
            modality.purify.weight.zero_()
            modality.purify.bias.fill_(-1e4)  # gates closed
    plain = toy_model("lightgcn", dim=4, layers=3)
    with torch.no_grad():
        plain.nodes.copy_(model.nodes)
        for mine, other in zip(model.factors(), plain.factors(), strict=True):
            torch.testing.assert_close(mine, other)


def test_the_contrast_can_be_left_out() -> None:
    with_it, without = (
        toy_model("mgcn", "image", "text", **{**SETTINGS, "ssl_weight": weight}).loss(*triples())
        for weight in (0.5, 0.0)
    )
    assert with_it > without


def test_an_item_without_a_vector_is_its_own_only_neighbour() -> None:
    features = toy_features("image")["image"]
    graph = cosine_graph(features, K)
    full = graph(torch.eye(N_ITEMS))
    for item in ABSENT["image"]:
        assert full[item].tolist() == [float(n == item) for n in range(N_ITEMS)]
        assert full[:, item].count_nonzero() == 1


def test_opposite_items_make_no_infinite_weight() -> None:
    """Their rows sum to 1 - 1 where a negative cosine counts."""
    matrix = np.array([[1, 0], [-1, 0], [0, 0]], dtype=np.float32)
    full = cosine_graph(Features(matrix, np.ones(3, dtype=bool)), 2)(torch.eye(3))
    torch.testing.assert_close(full, torch.eye(3))


def test_features_are_needed() -> None:
    with pytest.raises(OptionError, match="mgcn needs item features"):
        toy_model("mgcn")
