"""Which parameters of a model have a row for each user.

Sizes do not say it: a catalogue may have as many items as there are users, and so may a setting.
The model is built for two small worlds that differ only in their number of users; what grows with
them is per user.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from mmx.errors import RunError
from mmx.own.code import Codes, as_codes
from mmx.recommend.features import Features
from mmx.recommend.interactions import UserItems
from mmx.recommend.protocol import ClosedForm, GradientModel, World
from mmx.recommend.run import Run
from mmx.recommend.run_model import config_of_model, record_of

Shapes = dict[str, tuple[int, ...]]
Axes = dict[str, tuple[int, ...]]  # name → the axes that are as long as there are users, or longer
USERS, MORE, ITEMS, DIMENSION = 23, 6, 13, 8  # of the small worlds


def user_axes(run: Run, code: Codes = ()) -> Axes:
    """Of each parameter of the run's model its axes that have a place for each user.

    Such an axis has the users alone, or the users and then the items. ``code`` is the file or
    module of a model of the user's own, which is run. Raises OptionError where it is not given,
    RunError where the model is not that of the run any more.
    """
    record = record_of(run, as_codes(code))
    with record.blamed():
        module = record.load()
        config = config_of_model(module.Config, run)
        if isinstance(module, ClosedForm):
            return {}
        return axes_of(module.Model, config, _modalities(run))


def axes_of(model: Callable[..., GradientModel], config: Any, modalities: list[str]) -> Axes:
    """The same of a model class. Raises RunError for an axis that grows otherwise."""
    fewer, more = (_shapes(model, config, _world(n, modalities)) for n in (USERS, USERS + MORE))
    if fewer.keys() != more.keys():
        raise RunError("its parameters have other names when there are more users")
    return {name: _grown(name, shape, more[name]) for name, shape in fewer.items()}


def _grown(name: str, fewer: tuple[int, ...], more: tuple[int, ...]) -> tuple[int, ...]:
    found = tuple(n for n, (a, b) in enumerate(zip(fewer, more, strict=True)) if a != b)
    for axis in found:
        if fewer[axis] not in (USERS, USERS + ITEMS) or more[axis] - fewer[axis] != MORE:
            raise RunError(f"its parameter {name} has {fewer[axis]} places for {USERS} users and "
                           f"{ITEMS} items; one for each user, or for each user and then each "
                           "item, is expected")  # fmt: skip
    return found


def _modalities(run: Run) -> list[str]:
    if run.config.get("end_to_end"):
        return list(run.config["end_to_end"]["items_with_vector"])
    return [str(record["modality"]) for record in run.config["features"]]


def _world(n_users: int, modalities: list[str]) -> World:
    """With the same pairs for any number of users, so that a graph has as many edges."""
    users, items = np.divmod(np.arange(0, USERS * ITEMS, 3), ITEMS)
    train = UserItems.from_pairs(users, items, n_users, ITEMS)
    return World(train, {name: _features(seed) for seed, name in enumerate(modalities)})


def _features(seed: int) -> Features:
    matrix = np.random.default_rng(seed).normal(size=(ITEMS, DIMENSION)).astype(np.float32)
    return Features(matrix, np.ones(ITEMS, dtype=bool))


def _shapes(model: Callable[..., GradientModel], config: Any, world: World) -> Shapes:
    state = model(config, world, torch.Generator().manual_seed(0)).state_dict()
    return {name: tuple(value.shape) for name, value in state.items()}
