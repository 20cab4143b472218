"""COHESION against loops in float64."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F

from mmx.errors import OptionError
from mmx.recommend.models import MODELS
from tests.recommend.loops import cosine
from tests.recommend.sharing import contents, sharing
from tests.recommend.slow import frozen_rows, kept_pairs, step
from tests.recommend.toy import N_ITEMS, N_USERS, TAKEN, same_scores, same_step, toy_model, triples

Parameters = Mapping[str, torch.Tensor]
Rows = list[torch.Tensor]
Taken = Mapping[int, list[int]]
DIM, K, NEAR, REG = 4, 3, 2, 0.3
SETTINGS = {"dim": DIM, "neighbours": K, "user_neighbours": NEAR, "reg": REG}
SHARES = {
    ("image",): {"image": 1.0},
    ("image", "text"): {"image": 0.1, "text": 0.9},
    ("image", "text", "audio"): {"image": 0.1, "text": 0.45, "audio": 0.45},
}
BOTH = ("image", "text")
DEFAULT = (2, 1, True)  # layers, item_layers, normalise


def start(p: Parameters, name: str, normalise: bool) -> Rows:
    """A network's nodes at norm 1, users first; ``id`` has a table instead of contents."""
    rows = [p["own" if name == "id" else f"user.{name}"][u] for u in range(N_USERS)]
    for e, c in zip(p["ids"], contents(p, name, normalise), strict=True):
        rows.append(((e**2 + c**2) / 2 + 1e-8) ** 0.5)
    return [row / row.norm() for row in rows]


def summed(own: Rows, layers: int, taken: Taken) -> Rows:
    """The nodes' own rows and the layers, each times its cosine with the own row."""
    layer, total = own, list(own)
    for _ in range(layers):
        layer = [
            cosine(x, e) * x if x.detach().any() else torch.zeros_like(x)
            for x, e in zip(step(layer, taken), own, strict=True)
        ]
        total = [t + x for t, x in zip(total, layer, strict=True)]
    return total


def weighed(graph: torch.Tensor, rows: Rows) -> Rows:
    return [sum((w * x for w, x in zip(line, rows, strict=True)), torch.zeros_like(rows[0]))
            for line in graph]  # fmt: skip


def final(
    p: Parameters, names: tuple[str, ...], taken: Taken,
    layers: int, item_layers: int, normalise: bool, train_ids: bool = True,
) -> dict[str, tuple[Rows, Rows]]:  # fmt: skip
    """network → users' and items' rows."""
    graph, found = frozen_rows(SHARES[names], K, normalise=normalise), {}
    for name in ("id", *names):
        rows = summed(start(p, name, normalise), layers, taken)
        if name == "id" and not train_ids:
            rows = [row.detach() for row in rows]
        users, items = rows[:N_USERS], rows[N_USERS:]
        similar = items
        for _ in range(item_layers):
            similar = weighed(graph, similar)
        near = weighed(sharing(NEAR), users)
        found[name] = (
            [x + h for x, h in zip(users, near, strict=True)],
            [x + h for x, h in zip(items, similar, strict=True)],
        )
    return found


def loss(
    p: Parameters, batch: list[tuple[int, int, int]], names: tuple[str, ...], taken: Taken,
    *more: object,
) -> torch.Tensor:  # fmt: skip
    each = final(p, names, taken, *(more or DEFAULT))  # type: ignore[arg-type]
    total = torch.zeros((), dtype=torch.float64)
    for u, i, j in batch:
        apart = [users[u] @ items[i] - users[u] @ items[j] for users, items in each.values()]
        every = sum(math.exp(d.item()) for d in apart)
        apart = [(1 - math.exp(d.item()) / every) * d for d in apart]
        total = total - F.logsigmoid(sum(apart)) / math.log(2) / len(batch)
        for name in names:
            total = total + REG * p[f"user.{name}"][u].square().sum() / (DIM * len(batch))
    return total


def scores(p: Parameters, names: tuple[str, ...], *more: object) -> torch.Tensor:
    """The plain sum over the networks, over all that was taken."""
    each = final(p, names, TAKEN, *(more or DEFAULT)).values()  # type: ignore[arg-type]
    return sum(torch.stack(users) @ torch.stack(items).T for users, items in each)


@pytest.mark.parametrize(
    ("layers", "item_layers", "normalise"), [DEFAULT, (1, 2, False), (0, 0, True)]
)
@pytest.mark.parametrize("names", SHARES)
def test_it_equals_the_reference(
    names: tuple[str, ...], layers: int, item_layers: int, normalise: bool
) -> None:
    given = (layers, item_layers, normalise)
    model = toy_model("cohesion", *names, layers=layers, item_layers=item_layers,
                      normalise=normalise, **SETTINGS)  # fmt: skip
    same_step(model, lambda p, batch: loss(p, batch, names, TAKEN, *given))
    same_scores(model, lambda p: scores(p, names, *given))


def test_a_step_takes_the_pruned_graph_and_scores_the_whole_one() -> None:
    model = toy_model("cohesion", *BOTH, pruned=0.3, **SETTINGS)
    model.epoch_start(torch.Generator().manual_seed(0))
    taken = kept_pairs(model._pruned)
    assert sum(map(len, taken.values())) == 11  # of 16
    same_step(model, lambda p, batch: loss(p, batch, BOTH, taken))
    same_scores(model, lambda p: scores(p, BOTH))


def test_the_network_of_the_ids_can_be_left_as_drawn() -> None:
    """The ids themselves still learn, by what they are in the contents."""
    model = toy_model("cohesion", *BOTH, train_ids=False, **SETTINGS)
    still = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert still == {"own", *(name for name, _ in model.named_parameters() if "of_ids" in name)}
    same_step(
        model, lambda p, batch: loss(p, batch, BOTH, TAKEN, *DEFAULT, False), still=tuple(still)
    )
    same_scores(model, lambda p: scores(p, BOTH))


def test_what_nobody_took_is_scored_by_its_id_too() -> None:
    """So it cannot be said to be scored by its contents, which the record must not claim."""
    assert not MODELS["cohesion"].cold_items
    model = toy_model("cohesion", *BOTH, **SETTINGS)
    cold = next(i for i in range(N_ITEMS) if not any(i in taken for taken in TAKEN.values()))
    with torch.no_grad():
        before = model.factors()[1][cold]
        model.ids[cold] += 1
        after = model.factors()[1][cold]
    for one, other in zip(before.split(DIM), after.split(DIM), strict=True):
        assert not torch.allclose(one, other, atol=1e-3)


def test_nothing_is_drawn_by_a_step_or_by_scoring() -> None:
    model = toy_model("cohesion", *BOTH, **SETTINGS)
    assert model.loss(*triples()) == model.loss(*triples())


def test_features_are_needed() -> None:
    with pytest.raises(OptionError, match="cohesion needs item features"):
        toy_model("cohesion")
