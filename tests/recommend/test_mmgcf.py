"""MMGCF against loops in float64."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from mmx.errors import OptionError
from mmx.recommend.models.mmgcf import FUSIONS, WEIGHTINGS, Config
from tests.recommend.loops import linear
from tests.recommend.slow import feature, kept_pairs, propagated
from tests.recommend.toy import N_ITEMS, N_USERS, TAKEN, same_scores, same_step, toy_model

Parameters = Mapping[str, torch.Tensor]
Vectors = list[torch.Tensor]
REG = 0.05
SETTINGS = {"dim": 3, "reg": REG, "pruned": 0.5}


def joined(p: Parameters, parts: Vectors, fusion: str, name: str) -> torch.Tensor:
    if fusion == "concat":
        return linear(p, name, torch.cat(parts))
    return sum(parts) / (len(parts) if fusion == "mean" else 1)  # type: ignore[return-value]


def item(
    p: Parameters, i: int, own: torch.Tensor, names: tuple[str, ...], fusion: str, weighting: str
) -> torch.Tensor:
    """One item's embedding with its contents."""
    contents = []
    for name in names:
        f = feature(p[f"project.{name}.content.default"], name, i, True)
        contents.append(p[f"project.{name}.weight"] @ f + p[f"project.{name}.offset"])
    if weighting == "equal":
        if len(contents) > 1:
            contents = [joined(p, contents, fusion, "join_contents")]
        return joined(p, [own, *contents], fusion, "join")
    if weighting == "alpha":
        share = 1 / (1 + torch.exp(-p["alpha"]))
        return joined(p, [own * share, *(x * (1 - share) for x in contents)], fusion, "join")
    unit = [x / x.norm() for x in contents]
    return joined(p, [own / own.norm() * len(names), *unit], fusion, "join")


def final(
    p: Parameters, taken: Mapping[int, list[int]], layers: int, *given: Any
) -> tuple[Vectors, Vectors]:
    nodes = propagated(p, layers, taken)
    return nodes[:N_USERS], [item(p, i, nodes[N_USERS + i], *given) for i in range(N_ITEMS)]


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("names", [("image",), ("audio", "image", "text")])
def test_it_equals_the_reference(names: tuple[str, ...], fusion: str, weighting: str) -> None:
    layers = len(names)
    given = (layers, names, fusion, weighting)
    model = toy_model(
        "mmgcf", *names, layers=layers, fusion=fusion, weighting=weighting, **SETTINGS
    )
    model.epoch_start(torch.Generator().manual_seed(3))
    kept = kept_pairs(model._pruned)
    assert sum(map(len, kept.values())) == 8

    def loss(p: Parameters, batch: list[tuple[int, int, int]]) -> torch.Tensor:
        users, items = final(p, kept, *given)
        total = torch.zeros((), dtype=torch.float64)
        for u, i, j in batch:
            apart = users[u] @ items[i] - users[u] @ items[j]
            squares = sum(p["nodes"][n].square().sum() for n in (u, N_USERS + i, N_USERS + j))
            total = total + (REG * squares / 2 - F.logsigmoid(apart)) / len(batch)
        return total

    def scores(p: Parameters) -> torch.Tensor:
        users, items = final(p, TAKEN, *given)
        return torch.stack(users) @ torch.stack(items).T

    # what is the same for all items cancels in the difference of two
    still: tuple[str, ...] = ("join.bias", "join_contents.bias")
    if weighting != "normalised":
        still += tuple(f"project.{name}.offset" for name in names)
    same_step(model, loss, still)
    same_scores(model, scores)


def test_other_fusions_and_weightings_are_refused() -> None:
    with pytest.raises(OptionError, match=r"--set fusion .*product"):
        Config(fusion="product")
    with pytest.raises(OptionError, match=r"--set weighting .*none"):
        Config(weighting="none")


def test_features_are_needed() -> None:
    with pytest.raises(OptionError, match="mmgcf needs item features"):
        toy_model("mmgcf")
