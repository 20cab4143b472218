"""DRAGON against loops in float64."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F

from mmx.errors import OptionError
from mmx.recommend.blocks.user_graph import user_graph
from tests.recommend.sharing import modality, sharing
from tests.recommend.slow import frozen_rows
from tests.recommend.toy import (
    N_ITEMS,
    N_USERS,
    same_scores,
    same_step,
    toy_model,
    toy_train,
)

Parameters = Mapping[str, torch.Tensor]
DIM, K, NEAR, REG = 4, 3, 2, 0.3
SETTINGS = {"dim": DIM, "neighbours": K, "user_neighbours": NEAR, "reg": REG}
SHARES = {
    ("image",): {"image": 1.0},
    ("image", "text"): {"image": 0.1, "text": 0.9},
    ("image", "text", "audio"): {"image": 0.1, "text": 0.45, "audio": 0.45},
}


def final(
    p: Parameters, names: tuple[str, ...], layers: int, item_layers: int, normalise: bool
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    each = {name: modality(p, name, layers, normalise) for name in names}
    users = [
        torch.cat([p["weight"][u, m] * each[n][u] for m, n in enumerate(sorted(names))])
        for u in range(N_USERS)
    ]
    items = [torch.cat([each[n][N_USERS + i] for n in sorted(names)]) for i in range(N_ITEMS)]
    joined, graph, similar = (
        sharing(NEAR),
        frozen_rows(SHARES[names], K, normalise=normalise),
        items,
    )
    for _ in range(item_layers):
        similar = [sum(graph[i, j] * similar[j] for j in range(N_ITEMS)) for i in range(N_ITEMS)]
    users = [users[u] + sum(joined[u, v] * users[v] for v in range(N_USERS))
             for u in range(N_USERS)]  # fmt: skip
    return users, [x + h for x, h in zip(items, similar, strict=True)]


@pytest.mark.parametrize(
    ("layers", "item_layers", "normalise"), [(2, 1, True), (1, 2, False), (0, 0, True)]
)
@pytest.mark.parametrize("names", SHARES)
def test_it_equals_the_reference(
    names: tuple[str, ...], layers: int, item_layers: int, normalise: bool
) -> None:
    given = (names, layers, item_layers, normalise)
    model = toy_model("dragon", *names, layers=layers, item_layers=item_layers,
                      normalise=normalise, **SETTINGS)  # fmt: skip

    def loss(p: Parameters, batch: list[tuple[int, int, int]]) -> torch.Tensor:
        users, items = final(p, *given)
        total = REG * sum(w**2 for w in p["weight"].flatten()) / (N_USERS * len(names))
        for u, i, j in batch:
            apart = users[u] @ items[i] - users[u] @ items[j]
            total = total - F.logsigmoid(apart) / math.log(2) / len(batch)
            for name in names:
                total = total + REG * p[f"user.{name}"][u].square().sum() / (DIM * len(batch))
        return total

    same_step(model, loss)
    same_scores(model, lambda p: scored(final(p, *given)))


def scored(parts: tuple[list[torch.Tensor], list[torch.Tensor]]) -> torch.Tensor:
    users, items = parts
    return torch.stack(users) @ torch.stack(items).T


@pytest.mark.parametrize("count", [1, 2, 40])
def test_users_are_joined_to_those_they_share_most_with(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In blocks of a user or two as at once."""
    expected = sharing(count)
    for terms in (5, 10**6):
        monkeypatch.setattr("mmx.recommend.blocks.user_graph.TERMS_AT_ONCE", terms)
        found = user_graph(toy_train(), count)(torch.eye(N_USERS))
        torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-7)


def test_a_user_who_shares_nothing_has_an_empty_row() -> None:
    alone = toy_train().from_pairs(*torch.tensor([[0, 1, 2], [0, 0, 1]]).numpy(), 3, 2)
    found = user_graph(alone, 2)(torch.eye(3))
    assert found.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]


def test_features_are_needed() -> None:
    with pytest.raises(OptionError, match="dragon needs item features"):
        toy_model("dragon")
