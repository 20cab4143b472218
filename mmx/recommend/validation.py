"""Which users validation measures a model on, and what to say where there are none."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mmx.recommend.interactions import Interactions, UserItems

VALIDATED_ON = "recall@20"  # picks the epoch


def evaluated_users(held_out: UserItems, train: UserItems) -> np.ndarray:
    """(n,) users whose held-out items count: those that have training items, too."""
    return np.flatnonzero((held_out.counts > 0) & (train.counts > 0))


def validates(data: Interactions) -> bool:
    """Whether validation can pick an epoch; else the last one counts and nothing stops early."""
    return bool(len(evaluated_users(data.valid, data.known)))


def lines_of_empty_splits(data: Interactions, epochs: int | None) -> Iterator[str]:
    """A line for each split without users to evaluate; ``epochs`` is None for a closed form."""
    if not validates(data):
        yield f"{_nobody('validation', data.valid)}: {_then(epochs)}"
    if not len(evaluated_users(data.test, data.known)):
        yield f"{_nobody('test', data.test)}: test metrics are NaN"


def _nobody(split: str, held_out: UserItems) -> str:
    users = int((held_out.counts > 0).sum())
    if not users:
        return f"there are no {split} interactions"
    return f"none of the {users:,} {split} users has training interactions"


def _then(epochs: int | None) -> str:
    if epochs is None:
        return "validation metrics are NaN"
    return f"early stopping is off, all {epochs:,} epochs run and the last one counts"
