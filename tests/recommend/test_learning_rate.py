"""A model may have a learning rate of its own; ``--lr`` goes before it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mmx.errors import OptionError
from mmx.recommend.fit import fit
from mmx.recommend.job import TrainJob
from mmx.recommend.models import find_model
from mmx.recommend.options import TrainOptions
from mmx.recommend.protocol import Facts, GradientModel, ModelConfig, World
from mmx.recommend.run import Run
from mmx.sample.catalogue import write_sample

RATE = 0.25


class Lifted(GradientModel):
    """Its loss is one number, so that the first step of Adam is the learning rate."""

    facts = Facts(lr=RATE)

    @dataclass(frozen=True)
    class Config(ModelConfig):
        dim: int = 2

    def __init__(self, config: Config, world: World, generator: torch.Generator) -> None:
        super().__init__()
        self.users = nn.Parameter(torch.ones(world.n_users, config.dim))
        self.items = nn.Parameter(torch.ones(world.n_items, config.dim))

    def loss(self, *_: torch.Tensor) -> torch.Tensor:
        return -self.items.sum()

    def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.users, self.items


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data")
    write_sample(path, items=30, users=20, seed=1)
    return path


def fitted(data: Path, out: Path, model: Any, **training: Any) -> Run:
    options = TrainOptions(epochs=1, batch_size=1 << 20, **training)
    return fit(TrainJob(data, model, training=options), out, log=lambda line: None)


@pytest.mark.parametrize(("training", "rate"), [({}, RATE), ({"lr": 0.5}, 0.5)])
def test_a_model_is_trained_with_its_own(
    data: Path, tmp_path: Path, training: dict[str, Any], rate: float
) -> None:
    run = fitted(data, tmp_path / "run", Lifted, **training)
    assert run.config["training"]["lr"] == rate
    scorer: Any = run.scorer
    assert scorer.items == pytest.approx(1 + rate)


def test_naming_the_rate_that_a_model_has_is_the_same_job(data: Path, tmp_path: Path) -> None:
    without, named = (
        fitted(data, tmp_path / name, "bpr", **training)
        for name, training in {"without": {}, "named": {"lr": 1e-3}}.items()
    )
    assert without.config["training"] == named.config["training"]
    files = [(run.path / "model.safetensors").read_bytes() for run in (without, named)]
    assert files[0] == files[1]
    mmgcf, written = find_model("mmgcf"), TrainOptions().described_for
    assert written(mmgcf) == replace(TrainOptions(), lr=mmgcf.lr).described_for(mmgcf)
    assert mmgcf.lr != find_model("bpr").lr


@pytest.mark.parametrize("rate", [0, -1.0, float("nan"), "fast"])
def test_a_rate_that_is_none_is_refused(rate: Any) -> None:
    with pytest.raises(OptionError, match=r"lr of Facts: .* is expected"):
        Facts(lr=rate)
