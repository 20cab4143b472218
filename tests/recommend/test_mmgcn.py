"""MMGCN against loops in float64."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F

from mmx.errors import OptionError
from mmx.recommend.blocks.unit import unit
from tests.recommend.toy import (
    ABSENT,
    N_ITEMS,
    N_USERS,
    TAKEN,
    same_scores,
    same_step,
    toy_model,
    vectors64,
)

REG = 0.04
SETTINGS = {"dim": 3, "latent": 4, "reg": REG}  # image (5-d) is projected, text and audio are not
CASES = [(("image",), 1), (("text",), 2), (("image", "text", "audio"), 3)]


def leaky(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x > 0, x, 0.01 * x)


def mean_of(vectors: list[torch.Tensor], zero: torch.Tensor) -> torch.Tensor:
    return sum(vectors, zero) / max(len(vectors), 1)


def channel(
    p: Mapping[str, torch.Tensor], name: str, layers: int, normalise: bool
) -> list[torch.Tensor]:
    """One modality's last layer, node by node; users first."""
    q = {key.removeprefix(f"channels.{name}."): value for key, value in p.items()}
    items = []
    for i, raw in enumerate(vectors64(name, normalise)):
        projected = q["project"] @ raw + q["project_bias"] if "project" in q else raw
        items.append(q["default"] if i in ABSENT[name] else projected)
    x = [v / v.norm() for v in [*q["preference"], *items]]
    ids = [*p["user"], *p["item"]]
    takers = [[u for u in range(N_USERS) if i in TAKEN[u]] for i in range(N_ITEMS)]
    neighbours = [[N_USERS + i for i in TAKEN[u]] for u in range(N_USERS)] + takers
    for number in range(layers):
        w = {k.removeprefix(f"layers.{number}."): v for k, v in q.items()}
        after = []
        for node, others in enumerate(neighbours):
            zero = torch.zeros(len(w["gather"]), dtype=torch.float64)
            h = leaky(mean_of([w["gather"] @ x[n] for n in others], zero))
            own = leaky(w["own"] @ x[node] + w["own_bias"]) + ids[node]
            together = torch.cat([w["from_gathered"], w["from_own"]], 1)
            after.append(leaky(together @ torch.cat([h, own]) + w["bias"]))
        x = after
    return x


def finals(
    p: Mapping[str, torch.Tensor], names: tuple[str, ...], layers: int, normalise: bool = True
) -> torch.Tensor:
    ends = [torch.stack(channel(p, name, layers, normalise)) for name in names]
    return torch.stack(ends).mean(0)


def loss(
    p: Mapping[str, torch.Tensor],
    batch: list,
    names: tuple[str, ...],
    layers: int,
    normalise: bool = True,
) -> torch.Tensor:
    nodes = finals(p, names, layers, normalise)
    total = torch.zeros((), dtype=torch.float64)
    for u, i, j in batch:
        difference = nodes[u] @ nodes[N_USERS + i] - nodes[u] @ nodes[N_USERS + j]
        total = total - F.logsigmoid(difference) / len(batch)
        for vector in (p["user"][u], p["item"][i], p["item"][j]):
            total = total + REG * (vector @ vector) / (2 * len(batch))
    return total


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize(("names", "layers"), CASES)
def test_it_equals_the_reference(names: tuple[str, ...], layers: int, normalise: bool) -> None:
    model = toy_model("mmgcn", *names, layers=layers, normalise=normalise, **SETTINGS)
    same_step(model, lambda p, batch: loss(p, batch, names, layers, normalise))

    def scores(p: Mapping[str, torch.Tensor]) -> torch.Tensor:
        nodes = finals(p, names, layers, normalise)
        return nodes[:N_USERS] @ nodes[N_USERS:].T

    same_scores(model, scores)


def test_preferences_can_be_left_as_drawn() -> None:
    model = toy_model("mmgcn", "image", layers=2, preferences=False, **SETTINGS)
    still = "channels.image.preference"
    assert not model.channels["image"].preference.requires_grad

    def reference(p: Mapping[str, torch.Tensor], batch: list) -> torch.Tensor:
        return loss({**p, still: p[still].detach()}, batch, ("image",), 2)

    same_step(model, reference, (still,))


def test_long_features_are_reduced_and_short_ones_are_not() -> None:
    model = toy_model("mmgcn", "image", "audio", dim=3, latent=2, components=4)
    assert model.channels["image"].matrix.shape == (N_ITEMS, 4)
    assert model.channels["audio"].matrix.shape == (N_ITEMS, 3)
    whole = toy_model("mmgcn", "image", dim=3, latent=2, components=0)
    assert whole.channels["image"].matrix.shape == (N_ITEMS, 5)


def test_unit_rows_and_their_gradient() -> None:
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(unit(x), F.normalize(x))
    assert torch.autograd.gradcheck(unit, (x,))
    assert unit(torch.zeros(2, 3)).tolist() == [[0] * 3] * 2


def test_it_refuses_a_world_without_features_and_no_layers() -> None:
    with pytest.raises(OptionError, match="--features"):
        toy_model("mmgcn")
    with pytest.raises(OptionError, match="layers"):
        toy_model("mmgcn", "image", layers=0)
