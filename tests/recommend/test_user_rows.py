"""Which parameters are cut when a run forgets a user, whatever sizes happen to be equal."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import mmx
from mmx.array_files import load_arrays
from mmx.errors import OptionError, RunError
from mmx.recommend.fit import fit
from mmx.recommend.forgetting import forget_user
from mmx.recommend.job import TrainJob
from mmx.recommend.models import MODELS
from mmx.recommend.options import TrainOptions
from mmx.recommend.protocol import World
from mmx.recommend.user_rows import axes_of
from tests.catalogue import plain_catalogue, random_log, write_interactions
from tests.own.packages import MODEL, job, written
from tests.recommend.minimal import Config, Model
from tests.recommend.toy import N_ITEMS, N_USERS, toy_features, toy_train

TRAINED = sorted(name for name, record in MODELS.items() if not record.closed_form)
MISNAMED = MODEL.replace(
    "    def loss", "        self.for_users = nn.Parameter(torch.ones(2, world.n_items))\n"
    "        self.item_like = nn.Parameter(torch.arange(float(world.n_users)))\n\n    def loss", 1,
)  # fmt: skip


@pytest.mark.parametrize("name", TRAINED)
def test_every_model_says_what_is_per_user(name: str) -> None:
    """Six users and nine items: no setting is of size 6 or 15."""
    record = MODELS[name]
    module, modalities = record.load(), ["image", "text"] if record.features != "none" else []
    world = World(toy_train(), toy_features(*modalities))
    state = module.Model(module.Config(), world, torch.Generator().manual_seed(0)).state_dict()
    sizes = (N_USERS, N_USERS + N_ITEMS)
    expected = {
        name: tuple(axis for axis, size in enumerate(value.shape) if size in sizes)
        for name, value in state.items()
    }
    assert axes_of(module.Model, module.Config(), modalities) == expected


class Doubled(Model):
    """Has two rows for each user."""

    def __init__(self, config: Config, world: World, generator: torch.Generator) -> None:
        super().__init__(config, world, generator)
        self.two = torch.nn.Parameter(torch.zeros(2 * world.n_users))


def test_what_grows_otherwise_is_refused() -> None:
    assert axes_of(Model, Config(), []) == {"user": (0,), "item": ()}
    with pytest.raises(RunError, match="its parameter two has 46 places for 23 users and 13 items"):
        axes_of(Doubled, Config(), [])


@pytest.fixture
def square(tmp_path: Path) -> Path:
    """A dataset with as many items as users."""
    plain_catalogue(tmp_path / "data", items=16)
    write_interactions(tmp_path / "data", random_log(16, 16, 6))
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("model", "shapes"),
    [
        ("bpr", {"user": (15, 16), "item": (16, 16), "bias": (16,)}),
        ("lightgcn", {"nodes": (31, 16)}),
    ],
)
def test_as_many_items_as_users_as_columns(
    square: Path, tmp_path: Path, model: str, shapes: dict[str, tuple[int, ...]]
) -> None:
    options = TrainOptions(epochs=1, batch_size=64)
    run = fit(TrainJob(square, model, training=options, settings=("dim=16",)), tmp_path / "run")
    _cut(run, shapes)


def _cut(run: mmx.Run, shapes: dict[str, tuple[int, ...]], **more: object) -> None:
    """Forget the fourth user: these are the shapes then, and the values are the others'."""
    assert len(run.data.users) == len(run.data.items) == 16
    before = load_arrays(run.path / "model.safetensors")
    forget_user(run.path, run.data.users.ids[3].as_py(), **more)
    after = load_arrays(run.path / "model.safetensors")
    assert {name: value.shape for name, value in after.items()} == shapes
    for name, value in after.items():
        cut = value.shape != before[name].shape
        expected = np.delete(before[name], 3, 0) if cut else before[name]
        np.testing.assert_array_equal(value, expected)


def test_a_model_of_ones_own_with_misleading_names(square: Path, tmp_path: Path) -> None:
    code = written(tmp_path, MISNAMED)
    run = fit(job(square, f"{code}:Model", code), tmp_path / "run")
    user = run.data.users.ids[3].as_py()
    with pytest.raises(OptionError, match=r"its code is needed: --code mine\.py"):
        forget_user(run.path, user)
    other = written(tmp_path / "changed", MISNAMED + "# changed\n")
    with pytest.raises(RunError, match=r"has changed since .* restore it, or train again"):
        forget_user(run.path, user, code=other)  # rather than to go by sizes and names
    assert user in mmx.open_run(run.path).data.users
    shapes = {"user": (15, 4), "item": (16, 4), "for_users": (2, 16), "item_like": (15,)}
    _cut(run, shapes, code=code)


def test_a_run_of_an_earlier_version_is_cut_by_size_and_name(square: Path, tmp_path: Path) -> None:
    run = fit(TrainJob(square, "bpr", training=TrainOptions(epochs=1)), tmp_path / "run")
    config = json.loads((run.path / "config.json").read_text())
    config["settings"]["gone"] = 1
    (run.path / "config.json").write_text(json.dumps(config))
    dim = run.config["settings"]["dim"]
    _cut(run, {"user": (15, dim), "item": (16, dim), "bias": (16,)})
