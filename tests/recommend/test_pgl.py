"""PGL against loops in float64."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmx.errors import OptionError
from mmx.recommend.blocks.frozen_graph import graph_shares
from tests.recommend import kit
from tests.recommend.loops import contrast
from tests.recommend.slow import frozen_rows, kept_pairs, propagated
from tests.recommend.toy import (
    ABSENT,
    N_ITEMS,
    N_USERS,
    TAKEN,
    TRIPLES,
    same_scores,
    same_step,
    toy_features,
    toy_model,
    triples,
    vectors64,
)

Parameters = Mapping[str, torch.Tensor]
K, TAU, SSL, DIM = 3, 0.4, 0.3, 3
SETTINGS = {"dim": DIM, "neighbours": K, "temperature": TAU, "ssl_weight": SSL}
MODALITIES = [("image",), ("image", "text"), ("audio", "image", "text")]


def contents(p: Parameters, names: tuple[str, ...], normalise: bool) -> list[torch.Tensor]:
    """e_i: every modality of an item, projected to norm 1, side by side."""
    items = []
    for i in range(N_ITEMS):
        parts = []
        for name in names:
            at = f"project.{name}"
            absent = i in ABSENT[name]
            f = p[f"{at}.content.default"] if absent else vectors64(name, normalise)[i]
            x = p[f"{at}.weight"] @ f + p[f"{at}.offset"]
            parts.append(x / x.norm())
        items.append(torch.cat(parts))
    return items


def final(
    p: Parameters,
    names: tuple[str, ...],
    depths: tuple[int, int],
    normalise: bool,
    taken: Mapping[int, list[int]] = TAKEN,
) -> list[torch.Tensor]:
    """ē of the users, ē + h of the items."""
    items = contents(p, names, normalise)
    nodes = propagated({"nodes": torch.cat([p["user"], torch.stack(items)])}, depths[0], taken)
    alike = frozen_rows(graph_shares("", toy_features(*names)), K, normalise=normalise)
    for _ in range(depths[1]):
        items = [
            sum((alike[i, j] * items[j] for j in range(N_ITEMS)), torch.zeros(()))
            for i in range(N_ITEMS)
        ]
    return nodes[:N_USERS] + [a + b for a, b in zip(nodes[N_USERS:], items, strict=True)]


def loss(p: Parameters, batch: list, kept: torch.Tensor, *given: Any) -> torch.Tensor:
    found = final(p, *given)
    total = torch.zeros((), dtype=torch.float64)
    for u, i, j in batch:
        difference = found[u] @ found[N_USERS + i] - found[u] @ found[N_USERS + j]
        total = total - F.logsigmoid(difference) / len(batch)
    for side, numbers in enumerate(([u for u, _, _ in batch], [N_USERS + i for _, i, _ in batch])):
        views = [
            [found[n] * kept[2 * side + which, row] for row, n in enumerate(numbers)]
            for which in (0, 1)
        ]
        total = total + SSL * contrast(*views, TAU) / 2
    return total


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("depths", [(2, 1), (0, 2), (1, 0)])
@pytest.mark.parametrize("names", MODALITIES)
def test_it_equals_the_reference(
    monkeypatch: pytest.MonkeyPatch,
    names: tuple[str, ...],
    depths: tuple[int, int],
    normalise: bool,
) -> None:
    steps = {"layers": depths[0], "item_layers": depths[1]}
    model = toy_model("pgl", *names, normalise=normalise, **steps, **SETTINGS)
    model.epoch_start(torch.Generator().manual_seed(3))
    taken = kept_pairs(model._pruned)
    assert sum(map(len, taken.values())) == 4  # ⌊0.3 · 16⌋
    shape = (4, len(TRIPLES), DIM * len(names))
    kept = torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.8
    monkeypatch.setattr(model, "draw", lambda given: kept)
    same_step(model, lambda p, b: loss(p, b, kept, names, depths, normalise, taken))

    def scores(p: Parameters) -> torch.Tensor:
        found = torch.stack(final(p, names, depths, normalise))
        return found[:N_USERS] @ found[N_USERS:].T

    same_scores(model, scores)


def test_each_step_drops_out_and_scoring_does_not() -> None:
    model = toy_model("pgl", "image", "text", **SETTINGS)
    shares = [model.draw(torch.Size((50, 40))).float().mean().item() for _ in range(2)]
    assert shares[0] != shares[1]
    assert shares == pytest.approx([0.8, 0.8], abs=0.05)
    with torch.no_grad():
        assert torch.equal(model.factors()[1], model.factors()[1])
        assert model.loss(*triples()) != model.loss(*triples())


def test_an_item_nobody_took_is_ranked_by_its_contents(tmp_path: Path) -> None:
    """Planted: the cold item of one's own club comes before those of the others."""
    run = kit.trained(kit.write_place(tmp_path), "pgl", tmp_path / "run", settings=["dim=16"])
    scores = kit.all_scores(run)[:, run.data.items.numbers(list(kit.COLD))]  # (users, clubs)
    own = [int(kit.club_of(user)[1:]) for user in run.data.users.ids.to_pylist()]
    assert np.mean(scores.argmax(1) == np.array(own)) > 0.9


def test_features_are_needed() -> None:
    with pytest.raises(OptionError, match="pgl needs item features"):
        toy_model("pgl")
