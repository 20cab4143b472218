"""What a model gives back, compared with its contract in ``mmx.recommend.protocol``.

A model that breaks it ends in one line that names its class and what is expected there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import torch

from mmx.errors import RunError
from mmx.recommend.blocks.item_item import ItemItem
from mmx.recommend.interactions import UserItems
from mmx.recommend.protocol import FeatureTable, GradientModel, World
from mmx.recommend.scoring import Factors, Scorer
from mmx.recommend.soundness import check_scorer

T = TypeVar("T")


def checked(value: Any, kind: type[T]) -> T:
    """A Config or a model. Raises RunError when it is not of the protocol's class."""
    if not isinstance(value, kind):
        raise RunError(f"{_name(value)} is not a {kind.__name__} of mmx.recommend.protocol")
    return value


def checked_groups(model: GradientModel, groups: Any) -> list[dict[str, Any]]:
    """Adam's groups. Raises RunError when no parameter is in them."""
    expected = "dictionaries with params, as torch's optimisers take them"
    listed = list(groups) if isinstance(groups, Iterable) else [groups]
    if not all(isinstance(group, dict) and "params" in group for group in listed):
        raise _broken(model, "parameter_groups", f"a {_name(groups)}", expected)
    listed = [{**group, "params": _parameters(group["params"])} for group in listed]
    if not any(group["params"] for group in listed):
        raise RunError(f"{_name(model)}.parameter_groups names no parameter that trains")
    return listed


def _parameters(given: Any) -> list[torch.Tensor]:
    """One parameter or several as a list."""
    return [given] if isinstance(given, torch.Tensor) else list(given)


def checked_loss(model: GradientModel, loss: Any) -> torch.Tensor:
    """The loss. Raises RunError unless it is one number with a gradient."""
    if not isinstance(loss, torch.Tensor):
        raise _broken(model, "loss", f"a {type(loss).__name__}", "a tensor of one number")
    if loss.ndim:
        raise _broken(model, "loss", f"shape {tuple(loss.shape)}", "a single number, as of .mean()")
    if not loss.requires_grad:
        raise _broken(model, "loss", "a tensor without gradient", "one that parameters went into")
    return loss


def checked_factors(model: GradientModel, found: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Users' and items' embeddings. Raises RunError unless they are two matrices of one width."""
    two = isinstance(found, Sequence) and len(found) == 2
    if not two or not all(isinstance(one, torch.Tensor) for one in found):
        raise _broken(model, "factors", f"a {type(found).__name__}", "(users, k) and (items, k)")
    users, items = found
    if users.ndim != 2 or items.ndim != 2 or users.shape[1] != items.shape[1]:
        shapes = f"{tuple(users.shape)} and {tuple(items.shape)}"
        raise _broken(model, "factors", shapes, "(users, k) and (items, k)")
    return users, items


def check_rows(model: GradientModel, users: int, items: int, train: UserItems) -> None:
    """Raises RunError unless there is one embedding for each user and each item."""
    if (users, items) != (train.n_users, train.n_items):
        rows = f"embeddings of {users} users and {items} items"
        wanted = f"those of {train.n_users} users and {train.n_items} items"
        raise _broken(model, "factors", rows, wanted)


def checked_tables(model: GradientModel, found: Any) -> list[FeatureTable]:
    """Feature tables. Raises RunError unless each has a tensor ``matrix``."""
    listed = list(found) if isinstance(found, Iterable) else [found]
    if not all(hasattr(one, "matrix") for one in listed):
        raise _broken(
            model, "feature_tables", f"a {_name(found)}", "a list of modules with a matrix"
        )
    return listed


def checked_scorer(found: Any, world: World) -> Scorer:
    """What a closed form gave. Raises RunError unless it can be kept, and fits the world."""
    if not isinstance(found, Factors | ItemItem):
        raise RunError(f"fit gave a {_name(found)}; Factors or ItemItem is expected")
    try:
        check_scorer(found, world.n_users, world.n_items)
    except (ValueError, AttributeError, TypeError) as error:
        raise RunError(f"fit gave a scorer that is broken: {error}") from error
    return found


def hook_named(model: GradientModel, hook: str, said: str) -> str:
    """A message with the hook that it is of, for the author of a model of the user's own."""
    ours = type(model).__module__.startswith("mmx.")
    return said if ours else f"{_name(model)}.{hook}: {said}"


def _broken(model: GradientModel, method: str, found: str, expected: str) -> RunError:
    return RunError(f"{_name(model)}.{method} gave {found}; {expected} is expected")


def _name(value: Any) -> str:
    return type(value).__name__
