"""LGMRec against loops in float64."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from mmx.errors import OptionError
from mmx.recommend.blocks import losses
from mmx.recommend.blocks.losses import against_all
from mmx.recommend.models.lgmrec import Draw
from tests.recommend.loops import cosine
from tests.recommend.slow import propagated, step
from tests.recommend.toy import (
    ABSENT,
    N_ITEMS,
    N_USERS,
    TAKEN,
    same_scores,
    same_step,
    toy_model,
    triples,
    vectors64,
)

Parameters = Mapping[str, torch.Tensor]
N, H, KEEP, ALPHA, TAU, SSL, REG = N_USERS + N_ITEMS, 3, 0.75, 0.7, 0.5, 0.03, 0.02
SETTINGS = {"dim": 4, "hyperedges": H, "dropout": 1 - KEEP, "global_weight": ALPHA,
            "temperature": TAU, "ssl_weight": SSL, "reg": REG}  # fmt: skip
MODALITIES = [("image",), ("image", "text"), ("audio", "image", "text")]
DEPTHS = [(2, 2, 1), (1, 0, 2), (0, 1, 3)]  # of ids, of contents, of hyperedges


def draws(count: int) -> list[Draw]:
    generator = torch.Generator().manual_seed(5)
    found = []
    for _ in range(count):
        noise = -torch.rand(N, H, generator=generator).log().neg().log()
        found.append(Draw(noise, torch.rand(N, H, generator=generator) < KEEP))
    return found


def contents(p: Parameters, name: str, part: str, normalise: bool) -> list[torch.Tensor]:
    """Each item's vector times a matrix."""
    raw, at = vectors64(name, normalise), f"modalities.{name}"
    vectors = [p[f"{at}.content.default"] if i in ABSENT[name] else raw[i] for i in range(N_ITEMS)]
    return [p[f"{at}.{part}"] @ f for f in vectors]


def modal(p: Parameters, name: str, steps: int, normalise: bool) -> list[torch.Tensor]:
    """Users start at the mean of their items; only the last layer counts."""
    items = contents(p, name, "project", normalise)
    layer = [sum(items[i] for i in TAKEN[u]) / len(TAKEN[u]) for u in range(N_USERS)] + items
    for _ in range(steps):
        layer = step(layer, TAKEN)
    return layer


def memberships(
    p: Parameters, name: str, draw: Draw | None, normalise: bool
) -> list[list[torch.Tensor]]:
    """Of each node to each hyperedge; a user's logits are the sum of the items'."""
    items = contents(p, name, "edges", normalise)
    logits = [sum(items[i] for i in TAKEN[u]) for u in range(N_USERS)] + items
    found = []
    if draw is not None:
        logits = [(row + draw.noise[n].double()) / TAU for n, row in enumerate(logits)]
    for n, row in enumerate(logits):
        total = sum(torch.exp(x) for x in row)
        shares = [torch.exp(x) / total for x in row]
        if draw is not None:
            shares = [x * float(k) / KEEP for x, k in zip(shares, draw.kept[n], strict=True)]
        found.append(shares)
    return found


def hyper(ids: list[torch.Tensor], members: list, steps: int) -> list[torch.Tensor]:
    """Items to hyperedges and back; users read the last hyperedges."""
    items, users = ids[N_USERS:], ids[:0]
    for _ in range(steps):
        edges = [sum(members[N_USERS + i][h] * items[i] for i in range(N_ITEMS)) for h in range(H)]
        items = [sum(members[N_USERS + i][h] * edges[h] for h in range(H)) for i in range(N_ITEMS)]
        users = [sum(members[u][h] * edges[h] for h in range(H)) for u in range(N_USERS)]
    return users + items


def unit(x: torch.Tensor) -> torch.Tensor:
    return x / x.norm().clamp(min=1e-30)


def nodes(
    p: Parameters, names: tuple[str, ...], depths: tuple, normalise: bool, drawn: list | None
) -> tuple[list[torch.Tensor], list[list[torch.Tensor]]]:
    """Final embeddings of all nodes, and the global ones of each modality."""
    ids = propagated(p, depths[0])
    local = [modal(p, name, depths[1], normalise) for name in names]
    each = [
        hyper(ids, memberships(p, name, drawn[m] if drawn else None, normalise), depths[2])
        for m, name in enumerate(names)
    ]
    final = [
        ids[n] + sum(unit(x[n]) for x in local) + ALPHA * unit(sum(x[n] for x in each))
        for n in range(N)
    ]
    return final, each


def against(left: torch.Tensor, own: int, right: list[torch.Tensor]) -> torch.Tensor:
    """-ln of the share of one's own in the sum over the whole table."""
    each = [torch.exp(cosine(left, x) / TAU) for x in right]
    return -torch.log(each[own] / sum(each))


def loss(p: Parameters, batch: list, names: tuple[str, ...], *given: Any) -> torch.Tensor:
    final, each = nodes(p, names, *given)
    total = torch.zeros((), dtype=torch.float64)
    for u, i, j in batch:
        difference = final[u] @ final[N_USERS + i] - final[u] @ final[N_USERS + j]
        total = total - F.logsigmoid(difference) / len(batch)
        for m in range(len(names)):
            for o in range(m + 1, len(names)):
                total = total + SSL * against(each[m][u], u, each[o][:N_USERS])
                total = total + SSL * against(each[m][N_USERS + i], i, each[o][N_USERS:])
    places = ([u for u, _, _ in batch], [N_USERS + i for _, i, _ in batch],
              [N_USERS + j for _, _, j in batch])  # fmt: skip
    for numbers in places:
        square = sum(final[n] @ final[n] for n in numbers)
        total = total + REG * square**0.5 / len(batch)
    return total


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("depths", DEPTHS)
@pytest.mark.parametrize("names", MODALITIES)
def test_it_equals_the_reference(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], depths: tuple, normalise: bool
) -> None:
    steps = dict(zip(("layers", "modal_layers", "hyper_layers"), depths, strict=True))
    model = toy_model("lgmrec", *names, normalise=normalise, **steps, **SETTINGS)
    drawn = draws(len(names))
    monkeypatch.setattr(model, "draw", lambda: drawn)
    same_step(model, lambda p, b: loss(p, b, names, depths, normalise, drawn))

    def scores(p: Parameters) -> torch.Tensor:
        final = torch.stack(nodes(p, names, depths, normalise, None)[0])
        return final[:N_USERS] @ final[N_USERS:].T

    same_scores(model, scores)


def test_nothing_is_drawn_in_scoring_and_each_step_draws_again() -> None:
    model = toy_model("lgmrec", "image", "text", **SETTINGS)
    before = model.generator.get_state()
    with torch.no_grad():
        first, second = model.factors()[1], model.factors()[1]  # in training mode, even
        assert torch.equal(first, second)
        assert torch.equal(model.generator.get_state(), before)
        assert model.loss(*triples()) != model.loss(*triples())


def test_samples_are_on_average_what_scoring_takes() -> None:
    model = toy_model("lgmrec", "image", **{**SETTINGS, "temperature": 0.02})
    logits = torch.linspace(-1, 1, N * H).reshape(N, H)
    many = [model._memberships(logits, *model.draw()) for _ in range(3000)]
    torch.testing.assert_close(
        torch.stack(many).mean(0), model._memberships(logits, None), rtol=0, atol=0.05
    )


def test_without_contents_and_hyperedges_it_is_lightgcn() -> None:
    model = toy_model("lgmrec", "image", dim=4, layers=3, global_weight=0.0)
    plain = toy_model("lightgcn", dim=4, layers=3)
    with torch.no_grad():
        model.modalities["image"].project.zero_()
        plain.nodes.copy_(model.nodes)
        for mine, other in zip(model.factors(), plain.factors(), strict=True):
            torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("entries", [1, 12, 1 << 20])
def test_the_contrast_in_blocks_is_the_whole(monkeypatch: pytest.MonkeyPatch, entries: int) -> None:
    monkeypatch.setattr(losses, "ENTRIES_AT_ONCE", entries)
    drawn = torch.Generator().manual_seed(0)
    left, right = (torch.randn(n, 4, generator=drawn, requires_grad=True) for n in (5, 7))
    place, weights = torch.tensor([6, 0, 0, 3, 2]), torch.tensor([1, 3, 0, 2, 1])
    each = F.cross_entropy(left @ right.T / 0.3, place, reduction="none")
    found = against_all(left, right, 0.3, place, weights)
    torch.testing.assert_close(found, (weights * each).sum())
    gradients = [torch.autograd.grad(2 * x, (left, right)) for x in (found, (weights * each).sum())]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_features_are_needed() -> None:
    with pytest.raises(OptionError, match="lgmrec needs item features"):
        toy_model("lgmrec")
