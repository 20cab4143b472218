"""DualGNN against loops in float64."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmx.errors import OptionError
from tests.recommend import kit
from tests.recommend.sharing import modality, sharing
from tests.recommend.toy import N_ITEMS, N_USERS, same_scores, same_step, toy_model

Parameters = Mapping[str, torch.Tensor]
Vectors = list[torch.Tensor]
DIM, NEAR, REG = 4, 2, 0.3
SETTINGS = {"dim": DIM, "user_neighbours": NEAR, "reg": REG}


def final(
    p: Parameters, names: tuple[str, ...], layers: int, normalise: bool
) -> tuple[Vectors, Vectors]:
    each = [modality(p, name, layers, normalise) for name in sorted(names)]
    mixed = [sum(p["weight"][u, m] * y[u] for m, y in enumerate(each)) for u in range(N_USERS)]
    joined = sharing(NEAR)
    users = [x + sum(joined[u, v] * mixed[v] for v in range(N_USERS)) for u, x in enumerate(mixed)]
    return users, [sum(y[N_USERS + i] for y in each) for i in range(N_ITEMS)]


@pytest.mark.parametrize(("layers", "normalise"), [(2, True), (1, False), (0, True)])
@pytest.mark.parametrize("names", [("image",), ("image", "text", "audio")])
def test_it_equals_the_reference(names: tuple[str, ...], layers: int, normalise: bool) -> None:
    given = (names, layers, normalise)
    model = toy_model("dualgnn", *names, layers=layers, normalise=normalise, **SETTINGS)

    def loss(p: Parameters, batch: list[tuple[int, int, int]]) -> torch.Tensor:
        users, items = final(p, *given)
        total = REG * sum(w**2 for w in p["weight"].flatten()) / (N_USERS * len(names))
        for u, i, j in batch:
            apart = users[u] @ items[i] - users[u] @ items[j]
            total = total - F.logsigmoid(apart) / math.log(2) / len(batch)
            for name in names:
                total = total + REG * p[f"user.{name}"][u].square().sum() / (DIM * len(batch))
        return total

    def scores(p: Parameters) -> torch.Tensor:
        users, items = final(p, *given)
        return torch.stack(users) @ torch.stack(items).T

    same_step(model, loss)
    same_scores(model, scores)


def test_an_item_nobody_took_is_ranked_by_its_contents(tmp_path: Path) -> None:
    """Planted: the cold item of one's own club comes before those of the others."""
    place = kit.write_place(tmp_path)
    run = kit.trained(place, "dualgnn", tmp_path / "run", epochs=10, settings=["dim=16"])
    scores = kit.all_scores(run)[:, run.data.items.numbers(list(kit.COLD))]  # (users, clubs)
    own = [int(kit.club_of(user)[1:]) for user in run.data.users.ids.to_pylist()]
    assert np.mean(scores.argmax(1) == np.array(own)) > 0.9


def test_features_are_needed() -> None:
    with pytest.raises(OptionError, match="dualgnn needs item features"):
        toy_model("dualgnn")
