"""GUME against loops in float64."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from mmx.errors import OptionError
from mmx.recommend.blocks.graph import UserItemGraph
from mmx.recommend.models.gume import augmented
from tests.recommend.loops import contrast, linear, lookalikes
from tests.recommend.slow import feature
from tests.recommend.toy import (
    N_ITEMS,
    N_USERS,
    TAKEN,
    TRIPLES,
    same_scores,
    same_step,
    toy_features,
    toy_model,
    toy_train,
    triples,
    vectors64,
)

Parameters = Mapping[str, torch.Tensor]
DIM, K, BT, UT = 4, 5, 0.4, 0.3
BW, UW, VT, REG, REG2 = 0.3, 0.2, 0.15, 0.05, 0.07
SETTINGS = {"dim": DIM, "neighbours": K, "behaviour_temperature": BT, "user_temperature": UT,
            "behaviour_weight": BW, "user_weight": UW, "align_weight": VT, "reg": REG,
            "extended_reg": REG2}  # fmt: skip
MODALITIES = [("image",), ("image", "text"), ("image", "text", "audio")]
NODES = N_USERS + N_ITEMS


def nearest(name: str, normalise: bool) -> list[set[int]]:
    """Each item's K nearest that have the modality, itself among them."""
    vectors, present = vectors64(name, normalise), toy_features(name)[name].present
    known = [i for i in range(N_ITEMS) if present[i]]
    found: list[set[int]] = [set() for _ in range(N_ITEMS)]
    for i in known:
        alike = {j: float(F.cosine_similarity(vectors[i], vectors[j], dim=0)) for j in known}
        found[i] = set(sorted(known, key=lambda j: -alike[j])[:K])
    return found


def dense(names: tuple[str, ...], normalise: bool) -> torch.Tensor:
    """D^-½ A D^-½ with an edge from an item to those that are near it in every modality."""
    a = torch.zeros(NODES, NODES, dtype=torch.float64)
    for u, items in TAKEN.items():
        for i in items:
            a[u, N_USERS + i] = a[N_USERS + i, u] = 1
    near = [nearest(name, normalise) for name in names]
    for i in range(N_ITEMS):
        for j in set.intersection(*(of[i] for of in near)) - {i}:
            a[N_USERS + i, N_USERS + j] = 1
    degree = [sum(a[n].tolist()) for n in range(NODES)]
    for n in range(NODES):
        for m in range(NODES):
            both = degree[n] * degree[m]
            a[n, m] = a[n, m] / both**0.5 if both else 0
    return a


def mean(a: torch.Tensor, layer: list[torch.Tensor], layers: int) -> list[torch.Tensor]:
    total = list(layer)
    for _ in range(layers):
        layer = [sum((a[n, m] * layer[m] for m in range(NODES)), torch.zeros(DIM))
                 for n in range(NODES)]  # fmt: skip
        total = [t + new for t, new in zip(total, layer, strict=True)]
    return [t / (layers + 1) for t in total]


def explicit(
    p: Parameters, name: str, a: torch.Tensor, steps: int, normalise: bool
) -> list[torch.Tensor]:
    """One modality of every node: purified by the id, over the item graph, summed by users."""
    at, items = f"modalities.{name}", []
    graph = lookalikes(vectors64(name, normalise), toy_features(name)[name].present, K)
    for i in range(N_ITEMS):
        f = feature(p[f"{at}.project.content.default"], name, i, normalise)
        projected = p[f"{at}.project.weight"] @ f + p[f"{at}.project.offset"]
        gate = torch.sigmoid(linear(p, f"{at}.purify", projected))
        items.append(p["nodes"][N_USERS + i] * gate)
    for _ in range(steps):
        items = [sum((graph[i, j] * items[j] for j in range(N_ITEMS)), torch.zeros(DIM))
                 for i in range(N_ITEMS)]  # fmt: skip
    users = [sum((a[u, N_USERS + i] * items[i] for i in range(N_ITEMS)), torch.zeros(DIM))
             for u in range(N_USERS)]  # fmt: skip
    return users + items


def integrated(
    p: Parameters, views: dict[str, list[torch.Tensor]], behaviour: list[torch.Tensor]
) -> list[torch.Tensor]:
    found = []
    for n in range(NODES):
        scores = [p["query"][0] @ torch.tanh(linear(p, "attend", x[n])) for x in views.values()]
        shares = torch.softmax(torch.stack(scores), 0)
        coarse = sum(share * x[n] for share, x in zip(shares, views.values(), strict=True))
        total = coarse
        for m, x in views.items():
            total = total + torch.sigmoid(linear(p, f"prefer.{m}", behaviour[n])) * (x[n] - coarse)
        found.append(total / (1 + len(views)))
    return found


def parts(
    p: Parameters, names: tuple[str, ...], layers: int, steps: int, normalise: bool
) -> tuple[Any, ...]:
    """Behaviour, integration and extended interest of every node, and the explicit views."""
    a = dense(names, normalise)
    behaviour = mean(a, [p["nodes"][n] for n in range(NODES)], layers)
    views = {name: explicit(p, name, a, steps, normalise) for name in names}
    each = [
        mean(a, [p["extended"][u] for u in range(N_USERS)] + x[N_USERS:], layers)
        for x in views.values()
    ]
    extended = [sum(of[n] for of in each) / len(each) for n in range(NODES)]
    return behaviour, integrated(p, views, behaviour), extended, views


def apart(left: list[torch.Tensor], right: list[torch.Tensor]) -> torch.Tensor:
    """|Δ variance| + |Δ mean| of all numbers of two views."""
    (one, two), moments = (torch.cat(x) for x in (left, right)), []
    for x in (one, two):
        middle = sum(x) / len(x)
        moments.append((sum((v - middle) ** 2 for v in x) / (len(x) - 1), middle))
    return (moments[0][0] - moments[1][0]).abs() + (moments[0][1] - moments[1][1]).abs()


def noised(x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    return x + x.sign() * 0.1 * noise / (noise @ noise) ** 0.5


def loss(p: Parameters, batch: list, noise: torch.Tensor, *given: Any) -> torch.Tensor:
    """``noise``: (4, different users, k)."""
    behaviour, side, extended, views = parts(p, *given)
    final = [b + s for b, s in zip(behaviour, side, strict=True)]
    total = torch.zeros((), dtype=torch.float64)
    for u, i, j in batch:
        user, taken, other = final[u], final[N_USERS + i], final[N_USERS + j]
        total = total - F.logsigmoid(user @ taken - user @ other) / len(batch)
        for vector in (user, taken, other):
            total = total + REG * (vector @ vector) / (2 * len(batch))
        total = total + REG2 * extended[N_USERS + i].square().sum() / (2 * len(batch))
    users, items = [u for u, _, _ in batch], [N_USERS + i for _, i, _ in batch]
    for numbers in (users, items):
        total = total + BW * contrast([side[n] for n in numbers], [behaviour[n] for n in numbers],
                                      BT)  # fmt: skip
    names, place = list(views), {u: n for n, u in enumerate(sorted(set(users)))}
    for n, one in enumerate(names):
        for two in names[n + 1 :]:
            total = total + VT * apart(views[one], views[two])
    mine, theirs = [extended[u] for u in users], [side[u] for u in users]
    total = total + UW * contrast(mine, theirs, UT)
    for x, draws in ((theirs, noise[:2]), (mine, noise[2:])):
        left, right = ([noised(v, drawn[place[u]]) for v, u in zip(x, users, strict=True)]
                       for drawn in draws)  # fmt: skip
        total = total + UW * contrast(left, right, UT)
    return total


@pytest.mark.parametrize(
    ("layers", "item_layers", "normalise"),
    [(2, 1, True), (1, 2, False), (0, 0, True)],
)
@pytest.mark.parametrize("names", MODALITIES)
def test_it_equals_the_reference(
    names: tuple[str, ...],
    layers: int,
    item_layers: int,
    normalise: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = (names, layers, item_layers, normalise)
    model = toy_model("gume", *names, layers=layers, item_layers=item_layers,
                      normalise=normalise, **SETTINGS)  # fmt: skip
    noise = model.draw(128)
    monkeypatch.setattr(model, "draw", lambda rows: noise[:, :rows])
    one = ("attend.weight", "attend.bias", "query")  # of one modality: its softmax is 1
    gates = tuple(f"prefer.{names[0]}.{part}" for part in ("weight", "bias"))
    still = () if len(names) > 1 else one + gates
    same_step(model, lambda p, b: loss(p, b, noise.double(), *given), still)

    def scores(p: Parameters) -> torch.Tensor:
        behaviour, side, _, _ = parts(p, *given)
        final = torch.stack(behaviour) + torch.stack(side)
        return final[:N_USERS] @ final[N_USERS:].T

    same_scores(model, scores)


def test_the_graph_joins_items_that_are_near_in_every_modality() -> None:
    names = ("image", "text")
    expected = dense(names, normalise=True)
    assert (expected[N_USERS:, N_USERS:] > 0).sum() >= 3
    model = toy_model("gume", *names, neighbours=K)
    torch.testing.assert_close(model.graph(torch.eye(NODES)).double(), expected, rtol=1e-5, atol=0)


def test_without_edges_among_items_it_is_the_user_item_graph() -> None:
    plain = UserItemGraph(toy_train())
    none = torch.zeros(0, dtype=torch.long)
    eye = torch.eye(NODES)
    torch.testing.assert_close(augmented(plain, none, none)(eye), plain(eye))


def test_each_step_draws_its_own_noise_and_scoring_none() -> None:
    model = toy_model("gume", "image", "text", **SETTINGS)
    assert model.loss(*triples()) != model.loss(*triples())
    quiet = toy_model("gume", "image", "text", **{**SETTINGS, "user_weight": 0.0})
    assert quiet.loss(*triples()) == quiet.loss(*triples())
    state = model.generator.get_state()
    model.factors()
    assert torch.equal(model.generator.get_state(), state)


@pytest.mark.parametrize("weight", ["behaviour_weight", "user_weight", "align_weight"])
def test_each_loss_can_be_left_out(weight: str) -> None:
    whole, without = (
        toy_model("gume", "image", "text", **{**SETTINGS, **changed}).loss(*triples())
        for changed in ({}, {weight: 0.0})
    )
    assert whole > without
    assert len(TRIPLES) > 1


def test_features_are_needed() -> None:
    with pytest.raises(OptionError, match="gume needs item features"):
        toy_model("gume")
