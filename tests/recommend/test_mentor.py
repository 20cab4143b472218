"""MENTOR against loops in float64."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations

import pytest
import torch
import torch.nn.functional as F

from mmx.errors import OptionError
from tests.recommend.loops import cosine
from tests.recommend.sharing import contents
from tests.recommend.slow import frozen_rows, step
from tests.recommend.toy import N_ITEMS, N_USERS, TAKEN, same_scores, same_step, toy_model, triples

Parameters = Mapping[str, torch.Tensor]
Rows = list[torch.Tensor]
DIM, K, REG, ALIGN, NOISE, TAU = 4, 3, 0.3, 0.2, 0.4, 0.5
SETTINGS = {"dim": DIM, "neighbours": K, "reg": REG, "align_weight": ALIGN,
            "noise_weight": NOISE, "temperature": TAU}  # fmt: skip
SHARES = {
    ("image",): {"image": 1.0},
    ("image", "text"): {"image": 0.1, "text": 0.9},
    ("audio", "image", "text"): {"image": 0.1, "text": 0.45, "audio": 0.45},
}


def start(p: Parameters, name: str, normalise: bool) -> Rows:
    """A modality's nodes at norm 1, users first; ``id`` has a table instead of contents."""
    rows = [p["own" if name == "id" else f"user.{name}"][u] for u in range(N_USERS)]
    rows += contents(p, name, normalise)
    return [row / row.norm() for row in rows]


def summed(layer: Rows, layers: int, noise: torch.Tensor | None = None) -> Rows:
    """The sum of layers; ``noise`` (layers, nodes, k) moves each but the first."""
    total = list(layer)
    for number in range(layers):
        layer = step(layer, TAKEN)
        if noise is not None:
            layer = [x + 0.1 * x.sign() * d / d.norm()
                     for x, d in zip(layer, noise[number], strict=True)]  # fmt: skip
        total = [t + new for t, new in zip(total, layer, strict=True)]
    return total


def over_items(rows: Rows, graph: torch.Tensor, steps: int) -> Rows:
    """Items get what is similar to them; users stay."""
    items = similar = rows[N_USERS:]
    for _ in range(steps):
        similar = [sum(graph[i, j] * similar[j] for j in range(N_ITEMS)) for i in range(N_ITEMS)]
    return rows[:N_USERS] + [x + h for x, h in zip(items, similar, strict=True)]


def joined(p: Parameters, each: dict[str, Rows]) -> Rows:
    """All modalities side by side, those of users weighed."""
    rows = []
    for n in range(N_USERS + N_ITEMS):
        weights = p["weight"][n] if n < N_USERS else torch.ones(len(each))
        rows.append(torch.cat([w * x[n] for w, x in zip(weights, each.values(), strict=True)]))
    return rows


def moments(rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.cat(rows)
    mean = sum(x) / len(x)
    return sum((v - mean) ** 2 for v in x) / (len(x) - 1), mean


def against_all(mine: Rows, every: Rows, places: list[int]) -> torch.Tensor:
    """The mean over rows of -ln softmax(cos / τ) at their places."""
    total = torch.zeros((), dtype=torch.float64)
    for place in places:
        each = [torch.exp(cosine(mine[place], other) / TAU) for other in every]
        total = total - torch.log(each[place] / sum(each)) / len(places)
    return total


def parts(
    p: Parameters, names: tuple[str, ...], layers: int, normalise: bool
) -> tuple[dict[str, Rows], dict[str, Rows]]:
    starts = {name: start(p, name, normalise) for name in (*names, "id")}
    return starts, {name: summed(rows, layers) for name, rows in starts.items()}


@pytest.mark.parametrize(
    ("layers", "item_layers", "normalise"), [(2, 1, True), (1, 2, False), (0, 0, True)]
)
@pytest.mark.parametrize("names", SHARES)
def test_it_equals_the_reference(
    names: tuple[str, ...],
    layers: int,
    item_layers: int,
    normalise: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = toy_model("mentor", *names, layers=layers, item_layers=item_layers,
                      normalise=normalise, **SETTINGS)  # fmt: skip
    noise = model.draw()  # (2, layers, nodes, M, k)
    assert noise.shape == (2, layers, N_USERS + N_ITEMS, len(names), DIM)
    monkeypatch.setattr(model, "draw", lambda: noise)
    graph = frozen_rows(SHARES[names], K, normalise=normalise)

    def final(p: Parameters) -> Rows:
        each = parts(p, names, layers, normalise)[1]
        return over_items(joined(p, {n: each[n] for n in names}), graph, item_layers)

    def loss(p: Parameters, batch: list[tuple[int, int, int]]) -> torch.Tensor:
        starts, each = parts(p, names, layers, normalise)
        fused = final(p)
        total = REG * sum(w**2 for w in p["weight"].flatten()) / (N_USERS * len(names))
        for u, i, j in batch:
            apart = fused[u] @ fused[N_USERS + i] - fused[u] @ fused[N_USERS + j]
            total = total - F.logsigmoid(apart) / math.log(2) / len(batch)
            for name in names:
                total = total + REG * p[f"user.{name}"][u].square().sum() / (DIM * len(batch))
        alone = [over_items([torch.cat([x] * len(names)) for x in each[name]], graph, item_layers)
                 for name in ("id", *names)]  # fmt: skip
        for (v, m), (w, n) in combinations([moments(rows) for rows in (fused, *alone)], 2):
            total = total + ALIGN * ((v - w).abs() + (m - n).abs())
        one, other = (
            over_items(
                joined(p, {name: summed(starts[name], layers, drawn[:, :, m].double())
                           for m, name in enumerate(names)}),
                graph, item_layers,
            )
            for drawn in noise
        )  # fmt: skip
        for part, places in ((slice(N_USERS), [u for u, _, _ in batch]),
                             (slice(N_USERS, None), [i for _, i, _ in batch])):  # fmt: skip
            total = total + NOISE * against_all(one[part], other[part], places)
        return total

    same_step(model, loss)

    def scores(p: Parameters) -> torch.Tensor:
        rows = torch.stack(final(p))
        return rows[:N_USERS] @ rows[N_USERS:].T

    same_scores(model, scores)


def test_noise_is_of_steps_alone() -> None:
    model = toy_model("mentor", "image", "text", **SETTINGS)
    assert model.loss(*triples()) != model.loss(*triples())
    state = model.generator.get_state()
    model.factors()
    assert torch.equal(model.generator.get_state(), state)
    quiet = toy_model("mentor", "image", "text", **{**SETTINGS, "noise_weight": 0.0})
    assert quiet.loss(*triples()) == quiet.loss(*triples())


def test_without_alignment_the_ids_stay() -> None:
    model = toy_model("mentor", "image", "text", **{**SETTINGS, "align_weight": 0.0})
    model.loss(*triples()).backward()
    assert model.ids.grad is None or not model.ids.grad.any()


def test_features_are_needed() -> None:
    with pytest.raises(OptionError, match="mentor needs item features"):
        toy_model("mentor")
