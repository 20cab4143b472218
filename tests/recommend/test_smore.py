"""SMORE against loops in float64; the Fourier transforms are sums by their definition."""

from __future__ import annotations

import cmath
import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from mmx.errors import OptionError
from mmx.recommend.blocks.graph import Sparse
from mmx.recommend.blocks.item_graph import largest_of
from tests.recommend.loops import contrast, linear, lookalikes, user_sums
from tests.recommend.slow import feature, propagated
from tests.recommend.toy import (
    N_ITEMS,
    N_USERS,
    TRIPLES,
    same_scores,
    same_step,
    toy_features,
    toy_model,
    triples,
    vectors64,
)

Parameters = Mapping[str, torch.Tensor]
DIM, K, TAU, SSL, REG = 4, 3, 0.4, 0.3, 0.05
SETTINGS = {"dim": DIM, "neighbours": K, "temperature": TAU, "ssl_weight": SSL, "reg": REG}
MODALITIES = [("image",), ("image", "text"), ("image", "text", "audio")]


def spectrum(x: torch.Tensor) -> torch.Tensor:
    """The first half of the discrete Fourier transform, scaled by 1/√n."""
    n = len(x)
    return torch.stack(
        [
            sum(x[c] * cmath.exp(-2j * math.pi * f * c / n) for c in range(n)) / n**0.5
            for f in range(n // 2 + 1)
        ]
    )


def back(y: torch.Tensor, n: int) -> torch.Tensor:
    """n real numbers from half a spectrum: its mirror image conjugated, first and middle real."""
    full = [y[f] if f <= n // 2 else y[n - f].conj() for f in range(n)]
    full[0] = full[0].real + 0j
    if n % 2 == 0:
        full[n // 2] = full[n // 2].real + 0j
    return torch.stack(
        [
            sum((full[f] * cmath.exp(2j * math.pi * f * c / n)).real for f in range(n)) / n**0.5
            for c in range(n)
        ]
    )


def through(graph: torch.Tensor, items: list[torch.Tensor], steps: int) -> list[torch.Tensor]:
    """Every node's vector: items over the graph, users as sums of theirs."""
    zero = torch.zeros_like(items[0])
    for _ in range(steps):
        items = [sum((graph[i, j] * items[j] for j in range(N_ITEMS)), zero)
                 for i in range(N_ITEMS)]  # fmt: skip
    return user_sums(items) + items


def graphs(names: tuple[str, ...], ks: Mapping[str, int], normalise: bool) -> list[torch.Tensor]:
    """Of each modality, then the largest entries of all."""
    found = [
        lookalikes(vectors64(name, normalise), toy_features(name)[name].present, ks.get(name, K))
        for name in names
    ]
    return [*found, torch.stack(found).amax(0)]


def views(
    p: Parameters, names: tuple[str, ...], steps: int, normalise: bool, ks: Mapping[str, int]
) -> list[list[torch.Tensor]]:
    """Each modality of every node, then the fusion of all."""
    half = {name: torch.view_as_complex(p[f"filters.{name}"]) for name in names}
    filters, gated = torch.view_as_complex(p["filter"]), [[] for _ in range(len(names) + 1)]
    for i in range(N_ITEMS):
        product, e = filters, p["nodes"][N_USERS + i]
        for n, name in enumerate(names):
            at = f"project.{name}"
            f = feature(p[f"{at}.content.default"], name, i, normalise)
            y = spectrum(p[f"{at}.weight"] @ f + p[f"{at}.offset"])
            denoised = back(y * half[name], DIM)
            gated[n].append(e * torch.sigmoid(linear(p, f"purify.{name}", denoised)))
            product = product * y
        gated[-1].append(e * torch.sigmoid(linear(p, "purify_fused", back(product, DIM))))
    each = zip(graphs(names, ks, normalise), gated, strict=True)
    return [through(graph, items, steps) for graph, items in each]


def sides(
    p: Parameters, names: tuple[str, ...], behaviour: list[torch.Tensor], *given: Any
) -> list[torch.Tensor]:
    """The preference module: modalities weighed by the fusion, all gated by the behaviour."""
    *modal, fused = views(p, names, *given)
    found = []
    for n, ids in enumerate(behaviour):
        total = fused[n] * torch.sigmoid(linear(p, "prefer_fused", ids))
        for name, view in zip(names, modal, strict=True):
            inner = torch.tanh(linear(p, f"attend.{name}", fused[n]))
            share = torch.softmax(p[f"query.{name}"] @ inner, 0)
            total = total + share * view[n] * torch.sigmoid(linear(p, f"prefer.{name}", ids))
        found.append(total / (1 + len(names)))
    return found


def loss(p: Parameters, batch: list, names: tuple[str, ...], layers: int, *g: Any) -> torch.Tensor:
    behaviour = propagated(p, layers)
    side = sides(p, names, behaviour, *g)
    final = [b + s for b, s in zip(behaviour, side, strict=True)]
    total = torch.zeros((), dtype=torch.float64)
    for u, i, j in batch:
        user, taken, other = final[u], final[N_USERS + i], final[N_USERS + j]
        total = total - F.logsigmoid(user @ taken - user @ other) / len(batch)
        for vector in (user, taken, other):
            total = total + REG * (vector @ vector) / (2 * len(batch))
    for numbers in ([u for u, _, _ in batch], [N_USERS + i for _, i, _ in batch]):
        total = total + SSL * contrast([side[n] for n in numbers], [behaviour[n] for n in numbers],
                                       TAU)  # fmt: skip
    return total


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize(("layers", "item_layers"), [(2, 1), (1, 2), (0, 0)])
@pytest.mark.parametrize("names", MODALITIES)
def test_it_equals_the_reference(
    names: tuple[str, ...], layers: int, item_layers: int, normalise: bool
) -> None:
    ks = {"image": 4} if layers == 2 else {}
    own = ",".join(f"{name}:{k}" for name, k in ks.items())
    given = (names, layers, item_layers, normalise, ks)
    model = toy_model("smore", *names, layers=layers, item_layers=item_layers,
                      normalise=normalise, neighbours_of=own, **SETTINGS)  # fmt: skip
    same_step(model, lambda p, b: loss(p, b, *given))

    def scores(p: Parameters) -> torch.Tensor:
        behaviour = propagated(p, layers)
        final = torch.stack(behaviour) + torch.stack(sides(p, names, behaviour, *given[2:]))
        return final[:N_USERS] @ final[N_USERS:].T

    same_scores(model, scores)


def test_of_two_graphs_the_larger_weight_counts() -> None:
    one = Sparse(
        torch.tensor([0, 0, 1]), torch.tensor([0, 1, 2]), torch.tensor([0.5, 0.2, 0.0]), (3, 3)
    )
    two = Sparse(torch.tensor([0, 2]), torch.tensor([1, 0]), torch.tensor([0.3, 0.1]), (3, 3))
    expected = torch.tensor([[0.5, 0.3, 0], [0, 0, 0], [0.1, 0, 0]])
    torch.testing.assert_close(largest_of([one, two])(torch.eye(3)), expected)


def test_dropout_is_of_steps_alone() -> None:
    """Its mean over many draws is what is scored without it; the gates that are left are larger."""
    model = toy_model("smore", "image", "text", dropout=0.5, **{**SETTINGS, "ssl_weight": 0.0})
    plain = toy_model("smore", "image", "text", **{**SETTINGS, "ssl_weight": 0.0})
    with torch.no_grad():
        for mine, other in zip(model.factors(), plain.factors(), strict=True):
            torch.testing.assert_close(mine, other)
        assert model.loss(*triples()) != model.loss(*triples())
        gate = torch.ones(2000, DIM)
        kept = model.dropped(gate)
    assert set(kept.unique().tolist()) == {0.0, 2.0}
    assert float(kept.mean()) == pytest.approx(1, abs=0.05)


def test_the_gates_that_are_dropped_are_those_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every gate dropped only the behaviour is left: LightGCN."""
    model = toy_model(
        "smore", "image", "text", dropout=0.5, layers=2, **{**SETTINGS, "ssl_weight": 0.0}
    )
    monkeypatch.setattr(model, "dropped", torch.zeros_like)
    p = {name: value.double() for name, value in model.state_dict().items()}
    final, expected = propagated(p, 2), 0.0
    for u, i, j in TRIPLES:
        user, taken, other = final[u], final[N_USERS + i], final[N_USERS + j]
        expected -= F.logsigmoid(user @ taken - user @ other).item() / len(TRIPLES)
        expected += REG * sum((v @ v).item() for v in (user, taken, other)) / (2 * len(TRIPLES))
    assert model.loss(*triples()).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image", "MODALITY:NUMBER is expected, from 1"),
        ("image:0", "MODALITY:NUMBER is expected, from 1"),
        ("image:2,image:3", "'image' is given twice"),
        ("imgae:2", "no modality 'imgae'.*image"),
    ],
)
def test_neighbours_of_modalities_are_checked(text: str, said: str) -> None:
    with pytest.raises(OptionError, match=f"--set neighbours_of={text}: {said}"):
        toy_model("smore", "image", "text", neighbours_of=text)


def test_features_are_needed() -> None:
    with pytest.raises(OptionError, match="smore needs item features"):
        toy_model("smore")
