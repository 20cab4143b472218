"""VBPR against loops in float64."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F

from mmx.errors import OptionError
from tests.recommend.toy import (
    ABSENT,
    N_ITEMS,
    N_USERS,
    TAKEN,
    same_scores,
    same_step,
    toy_features,
    toy_model,
    toy_world,
    vectors64,
)

REG, CONTENT_REG = 0.05, 0.02
SETTINGS = {"dim": 3, "content_dim": 2, "reg": REG, "content_reg": CONTENT_REG}
MODALITIES = [("image",), ("image", "text"), ("image", "text", "audio")]
Names = tuple[str, ...]


def feature(p: Mapping[str, torch.Tensor], name: str, item: int, normalise: bool) -> torch.Tensor:
    """f_im, or the learned default of an item without a vector."""
    if item in ABSENT[name]:
        return p[f"content.{name}.default"]
    return vectors64(name, normalise)[item]


def score(
    p: Mapping[str, torch.Tensor], u: int, i: int, names: Names, normalise: bool = True
) -> torch.Tensor:
    """Equation 4 without α and β_u."""
    total = p["bias"][i] + p["user"][u] @ p["item"][i]
    for name in names:
        f = feature(p, name, i, normalise)
        content = torch.stack([row @ f for row in p[f"project.{name}"]])
        total = total + p["taste"][u] @ content + p[f"content_bias.{name}"] @ f
    return total


def loss(
    p: Mapping[str, torch.Tensor], batch: list, names: Names, normalise: bool = True
) -> torch.Tensor:
    """Section 3.3, the mean over the batch."""
    total = torch.zeros((), dtype=torch.float64)
    for u, i, j in batch:
        difference = score(p, u, i, names, normalise) - score(p, u, j, names, normalise)
        touched = [p["user"][u], p["taste"][u], p["item"][i], p["item"][j]]
        squares = sum((t**2).sum() for t in touched) + p["bias"][i] ** 2 + p["bias"][j] ** 2
        total = total + (REG * squares / 2 - F.logsigmoid(difference)) / len(batch)
    for name in names:
        squares = (p[f"project.{name}"] ** 2).sum() + (p[f"content_bias.{name}"] ** 2).sum()
        total = total + CONTENT_REG * squares / 2
    return total


def all_scores(p: Mapping[str, torch.Tensor], names: Names, normalise: bool = True) -> torch.Tensor:
    return torch.stack(
        [
            torch.stack([score(p, u, i, names, normalise) for i in range(N_ITEMS)])
            for u in range(N_USERS)
        ]
    )


@pytest.mark.parametrize("names", MODALITIES)
def test_it_equals_the_reference(names: Names) -> None:
    model = toy_model("vbpr", *names, **SETTINGS)
    same_step(model, lambda p, batch: loss(p, batch, names))
    same_scores(model, lambda p: all_scores(p, names))


def test_vectors_can_be_left_as_long_as_they_are() -> None:
    names = ("image", "text")
    model = toy_model("vbpr", *names, normalise=False, **SETTINGS)
    same_step(model, lambda p, batch: loss(p, batch, names, normalise=False))
    same_scores(model, lambda p: all_scores(p, names, normalise=False))


def test_the_default_vector_starts_at_the_mean_of_the_known_ones() -> None:
    model = toy_model("vbpr", "image", **SETTINGS)
    fresh = type(model)(model.config, toy_world("image"), torch.Generator().manual_seed(0))
    known = toy_features("image")["image"].normalised()
    mean = known.matrix[known.present].mean(0)
    torch.testing.assert_close(fresh.content["image"].default.detach(), torch.from_numpy(mean))


def test_an_item_nobody_took_can_be_scored_by_its_content_alone() -> None:
    names = ("image", "text")
    model = toy_model("vbpr", *names, cold="prior", **SETTINGS)
    taken = {i for items in TAKEN.values() for i in items}

    def reference(p: Mapping[str, torch.Tensor]) -> torch.Tensor:
        kept = torch.tensor([float(i in taken) for i in range(N_ITEMS)], dtype=torch.float64)
        changed = {**p, "item": p["item"] * kept[:, None], "bias": p["bias"] * kept}
        return all_scores(changed, names)

    same_scores(model, reference)
    same_step(model, lambda p, batch: loss(p, batch, names))  # training knows no difference


def test_it_refuses_a_world_without_features_and_an_unknown_rule() -> None:
    with pytest.raises(OptionError, match="--features"):
        toy_model("vbpr")
    with pytest.raises(OptionError, match="cold"):
        toy_model("vbpr", "image", cold="warm")
