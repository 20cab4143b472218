"""BM3 against loops in float64, with what dropout keeps given."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from mmx.errors import OptionError
from tests.recommend.slow import feature, propagated
from tests.recommend.toy import N_ITEMS, N_USERS, same_scores, same_step, toy_model, triples

DIM, P, WEIGHT, REG = 5, 0.4, 1.7, 0.3
SETTINGS = {"dim": DIM, "dropout": P, "content_weight": WEIGHT, "reg": REG}
MODALITIES = [("image",), ("image", "text"), ("image", "text", "audio")]
Parameters = Mapping[str, torch.Tensor]
Names = tuple[str, ...]


class Given:
    """What dropout keeps, drawn in this order: users, items, each modality by its name."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(4)
        self.drawn: list[torch.Tensor] = []

    def __call__(self, rows: int) -> torch.Tensor:
        self.drawn.append(torch.rand(rows, DIM, generator=self.generator) >= P)
        return self.drawn[-1]


def finals(p: Parameters, layers: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """U, and I with the residual connection."""
    nodes = propagated(p, layers)
    return nodes[:N_USERS], [nodes[N_USERS + i] + p["nodes"][N_USERS + i] for i in range(N_ITEMS)]


def predict(p: Parameters, x: torch.Tensor) -> torch.Tensor:
    return torch.stack([row @ x for row in p["predict.weight"]]) + p["predict.bias"]


def projected(p: Parameters, name: str, item: int, normalise: bool) -> torch.Tensor:
    prefix = f"project.{name}"
    f = feature(p[f"{prefix}.content.default"], name, item, normalise)
    return torch.stack([row @ f for row in p[f"{prefix}.weight"]]) + p[f"{prefix}.offset"]


def distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """1 - cos."""
    return 1 - a @ b / (a.norm() * b.norm())


def loss(
    p: Parameters, batch: list, names: Names, layers: int, kept: list[torch.Tensor], normalise: bool
) -> torch.Tensor:
    """Graph reconstruction, alignment, masking and the norms; a row of ``kept`` is a batch's id."""
    users, items = finals(p, layers)
    who, what = sorted({u for u, _, _ in batch}), sorted({i for _, i, _ in batch})
    mask = {("user", u): kept[0][n].double() for n, u in enumerate(who)}
    for place, kind in enumerate(("item", *sorted(names)), start=1):
        mask |= {(kind, i): kept[place][n].double() for n, i in enumerate(what)}
    total = torch.zeros((), dtype=torch.float64)
    for u, i, _ in batch:
        to_user = users[u].detach() * mask["user", u] / (1 - P)
        to_item = items[i].detach() * mask["item", i] / (1 - P)
        pair = distance(predict(p, users[u]), to_item) + distance(predict(p, items[i]), to_user)
        for name in names:
            content = projected(p, name, i, normalise)
            masked = content.detach() * mask[name, i] / (1 - P)
            guess = predict(p, content)
            pair = pair + WEIGHT * (distance(guess, to_item) + distance(guess, masked))
        total = total + pair / len(batch)
    squares = [sum((x**2).sum() for x in side) for side in (users, items)]
    return total + REG * sum(s**0.5 for s in squares) / N_ITEMS


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.parametrize("names", MODALITIES)
def test_it_equals_the_reference(names: Names, layers: int, normalise: bool) -> None:
    model = toy_model("bm3", *names, layers=layers, normalise=normalise, **SETTINGS)
    given = Given()
    model.draw = given
    model.loss(*triples())  # draws
    kept, given.generator = given.drawn[:], torch.Generator().manual_seed(4)
    assert len(kept) == 2 + len(names)
    same_step(model, lambda p, batch: loss(p, batch, names, layers, kept, normalise))

    def scores(p: Parameters) -> torch.Tensor:
        users, items = finals(p, layers)
        return torch.stack([torch.stack([predict(p, u) @ predict(p, i) for i in items])
                            for u in users])  # fmt: skip

    same_scores(model, scores)


def test_negatives_play_no_part() -> None:
    model = toy_model("bm3", "image", **{**SETTINGS, "dropout": 0.0})
    users, positives, negatives = triples()
    first, second = (model.loss(users, positives, n) for n in (negatives, negatives.flip(0)))
    assert first.item() == second.item()


def test_dropout_follows_the_models_own_generator() -> None:
    first, second = (toy_model("bm3", "image", dim=DIM, dropout=0.5) for _ in range(2))
    losses = [model.loss(*triples()).item() for model in (first, second, first)]
    assert losses[0] == losses[1] != losses[2]
    kept = first.draw(4000)
    assert kept.shape == (4000, DIM)
    assert kept.float().mean().item() == pytest.approx(0.5, abs=0.03)


def test_scores_draw_nothing() -> None:
    model = toy_model("bm3", "image", "text", **SETTINGS).train()
    before = model.generator.get_state()
    with torch.no_grad():
        first, second = model.factors(), model.factors()
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert torch.equal(model.generator.get_state(), before)


def test_targets_pass_no_gradient() -> None:
    """Without dropout, layers, bias and content the loss of one pair is 2 - 2 cos(P u, 2 i) …"""
    model = toy_model("bm3", "image", dim=DIM, dropout=0.0, layers=0, content_weight=0.0, reg=0.0)
    with torch.no_grad():
        model.predict.weight.copy_(torch.eye(DIM))
        model.predict.bias.zero_()
    user, item, other = torch.tensor([0]), torch.tensor([1]), torch.tensor([8])
    model.loss(user, item, other).backward()
    u, i = model.nodes[0].detach(), model.nodes[N_USERS + 1].detach()
    # … whose gradient at u is that of one of the two terms alone
    leaf = u.clone().requires_grad_()
    (1 - torch.cosine_similarity(leaf, 2 * i, dim=0)).backward()
    torch.testing.assert_close(model.nodes.grad[0], leaf.grad, rtol=1e-4, atol=1e-6)


def test_it_refuses_a_world_without_features_and_odd_settings() -> None:
    with pytest.raises(OptionError, match="--features"):
        toy_model("bm3")
    with pytest.raises(OptionError, match="dropout"):
        toy_model("bm3", "image", dropout=1.0)
