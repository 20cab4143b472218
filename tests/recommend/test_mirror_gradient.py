"""Mirror Gradient: a mirrored step by hand in float64, when it comes, and who refuses it."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from mmx.errors import OptionError
from mmx.processes import Processes
from mmx.recommend import checkpoint
from mmx.recommend.fit import fit
from mmx.recommend.job import TrainJob
from mmx.recommend.models import bpr
from mmx.recommend.options import TrainOptions, TrainProgress
from mmx.recommend.protocol import World
from mmx.recommend.training import TrainSteps, train
from tests.catalogue import plain_catalogue, random_log, write_interactions
from tests.recommend.short_training import log, run
from tests.recommend.toy import TRIPLES, toy_data, toy_model, triples

LR, B1, B2, EPS = 0.05, 0.9, 0.999, 1e-8  # of Adam
Table = dict[str, np.ndarray]


def gradient(p: Table) -> Table:
    """Of BPR without a bias and without L2, pair by pair, in float64."""
    found = {name: np.zeros_like(table) for name, table in p.items()}
    for u, i, j in TRIPLES:
        user, apart = p["user"][u], p["item"][i] - p["item"][j]
        slope = -1 / (1 + math.exp(user @ apart)) / len(TRIPLES)
        found["user"][u] += slope * apart
        found["item"][i] += slope * user
        found["item"][j] -= slope * user
    return found


def clipped(g: Table, most: float) -> Table:
    norm = math.sqrt(sum(float((table**2).sum()) for table in g.values()))
    scale = min(1.0, most / (norm + 1e-6)) if most else 1.0
    return {name: table * scale for name, table in g.items()}


def by_hand(p: Table, factors: list[float], clip: float) -> Table:
    """A step of Adam for each factor of the loss, all on the same triples."""
    m, v = ({name: np.zeros_like(table) for name, table in p.items()} for _ in range(2))
    for t, factor in enumerate(factors, start=1):
        g = clipped({name: factor * table for name, table in gradient(p).items()}, clip)
        for name in p:
            m[name] = B1 * m[name] + (1 - B1) * g[name]
            v[name] = B2 * v[name] + (1 - B2) * g[name] ** 2
            size = np.sqrt(v[name] / (1 - B2**t)) + EPS
            p = {**p, name: p[name] - LR * m[name] / (1 - B1**t) / size}
    return p


@pytest.mark.parametrize("clip", [0.0, 0.1])
@pytest.mark.parametrize(
    ("number", "factors"),
    [(0, [1.0, -0.3]), (1, [1.0]), (2, [1.0]), (3, [1.0, -0.3])],
)
def test_a_mirrored_step_is_the_one_made_by_hand(
    number: int, factors: list[float], clip: float
) -> None:
    model = toy_model("bpr", dim=4, reg=0.0, item_bias=False)
    model.bias.data.zero_()
    start = {name: getattr(model, name).detach().double().numpy() for name in ("user", "item")}
    options = TrainOptions(lr=LR, clip=clip, mirror_gradient=0.3, device="cpu")
    steps = TrainSteps(model, toy_data(), options, Processes("cpu"))
    steps._step(triples(), number)
    for name, expected in by_hand(start, factors, clip).items():
        found = getattr(model, name).detach().double().numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        assert np.abs(found - start[name]).max() > 1e-3


def test_every_third_batch_of_an_epoch_is_mirrored(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is reported is the loss before its step, as it is without."""
    batches: list[int] = []
    seen = bpr.Model.loss

    def loss(self: bpr.Model, users: torch.Tensor, *items: torch.Tensor) -> torch.Tensor:
        batches.append(users.sum().item())
        return seen(self, users, *items)

    monkeypatch.setattr(bpr.Model, "loss", loss)
    trained = run(log(), epochs=1, mirror_gradient=0.2)
    pairs = 60 * 9
    assert pairs > 4 * 128  # five batches, of which the first and the fourth come twice
    again = [one for one, other in pairwise(batches) if one == other]
    assert (len(batches), again) == (7, [batches[0], batches[4]])
    batches.clear()
    run(log(), epochs=1, mirror_gradient=0.2, mirror_every=1)
    assert len(batches) == 10
    batches.clear()
    plain = run(log(), epochs=1)
    assert len(batches) == 5
    assert trained.history[0]["loss"] == pytest.approx(plain.history[0]["loss"], rel=1e-2)
    assert not torch.equal(trained.state["user"], plain.state["user"])


class KilledError(Exception):
    """Stands for a kill in the third epoch, whose checkpoint is not written."""


def test_a_killed_run_ends_in_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    data, chosen = log(), {"mirror_gradient": 0.3, "mirror_every": 2, "clip": 0.1}
    whole, path = run(data, **chosen), tmp_path / "checkpoint"

    def kill(state: TrainProgress) -> None:
        if state.epoch == 3:
            raise KilledError

    options = TrainOptions(epochs=6, batch_size=128, lr=0.01, **chosen)  # type: ignore[arg-type]
    model = bpr.Model(bpr.Config(dim=8), World(data.train), torch.Generator().manual_seed(0))
    with pytest.raises(KilledError):
        train(model, data, options, kill, path)
    resumed = run(data, path, **chosen)
    assert all(torch.equal(whole.state[name], resumed.state[name]) for name in whole.state)
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in whole.history]


@pytest.mark.parametrize("bad", [{"mirror_gradient": -0.1}, {"mirror_gradient": 1.0},
                                 {"mirror_every": 0}])  # fmt: skip
def test_it_lowers_the_loss_more_than_it_raises_it(bad: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=f"--{next(iter(bad)).replace('_', '-')}"):
        TrainOptions(**bad)  # type: ignore[arg-type]


def test_a_run_says_so_only_where_it_is_on(tmp_path: Path) -> None:
    """What was written before there was such an option has the same description as now."""
    folder = plain_catalogue(tmp_path / "data", items=20)
    write_interactions(folder, random_log(15, 20, 8))
    said = []
    for share in (0.0, 0.2):
        training = TrainOptions(epochs=1, batch_size=64, mirror_gradient=share)
        out = fit(TrainJob(folder, "bpr", training=training), tmp_path / f"run{share}").path
        written = json.loads((out / "config.json").read_text())["training"]
        said.append({name: value for name, value in written.items() if "mirror" in name})
    assert said == [{}, {"mirror_gradient": 0.2, "mirror_every": 3}]
