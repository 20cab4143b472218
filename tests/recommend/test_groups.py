"""Who is in which group: definitions by hand, and that nobody is in two."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mmx.recommend.groups import (
    harmonic_mean,
    items_by_popularity,
    items_by_training,
    users_by_activity,
)


def members(groups: dict[str, np.ndarray]) -> dict[str, list[int]]:
    return {name: np.flatnonzero(mask).tolist() for name, mask in groups.items()}


def test_users_are_cut_at_the_terciles() -> None:
    found = members(users_by_activity(np.array([5, 1, 9, 2, 7, 3])))
    assert found == {"few": [1, 3], "some": [0, 5], "many": [2, 4]}
    five = members(users_by_activity(np.arange(5)))
    assert five == {"few": [0, 1], "some": [2, 3], "many": [4]}
    alike = members(users_by_activity(np.array([4, 4, 4])))
    assert alike == {"few": [0, 1, 2], "some": [], "many": []}
    equal = members(users_by_activity(np.array([1, 2, 2, 2, 2, 3])))
    assert equal == {"few": [0, 1, 2, 3, 4], "some": [], "many": [5]}
    assert members(users_by_activity(np.zeros(0, int))) == {"few": [], "some": [], "many": []}


def test_items_are_cut_at_shares_of_the_interactions() -> None:
    """By the share that more popular items have: 0; 40 and 60; twice 79; 99 %."""
    counts = np.array([19, 20, 40, 0, 10, 10, 1])
    shares = members(items_by_popularity(counts))
    assert shares == {"head": [2], "torso": [0, 1, 4, 5], "tail": [6]}
    exact = members(items_by_popularity(np.array([20, 60, 10, 10])))
    assert exact == {"head": [1], "torso": [0], "tail": [2, 3]}  # 80 % are above the tail
    under = members(items_by_popularity(np.array([19, 61, 10, 10])))
    assert under["torso"] == [0]
    fifth = members(items_by_popularity(np.array([20, 16, 16, 16, 16, 16])))
    assert fifth == {"head": [0], "torso": [1, 2, 3, 4, 5], "tail": []}  # 20 % are above
    alike = members(items_by_popularity(np.array([3, 3, 3, 3, 3, 3])))
    assert alike == {"head": [0, 1, 2, 3, 4, 5], "torso": [], "tail": []}
    assert members(items_by_training(counts)) == {"warm": [0, 1, 2, 4, 5, 6], "cold": [3]}


@pytest.mark.parametrize("seed", range(5))
def test_everyone_is_in_one_group(seed: int) -> None:
    counts = np.random.default_rng(seed).geometric(0.2, 50) - 1
    assert (sum(m.astype(int) for m in users_by_activity(counts).values()) == 1).all()
    groups = items_by_popularity(counts)
    assert (sum(m.astype(int) for m in groups.values()) == (counts > 0)).all()
    order = np.argsort(-counts, kind="stable")
    for place in order[counts[order] > 0]:
        group = next(name for name, mask in groups.items() if mask[place])
        more = counts[counts > counts[place]].sum() / counts.sum()
        assert group == ("head" if more < 0.2 else "tail" if more >= 0.8 else "torso")


def test_harmonic_mean() -> None:
    assert harmonic_mean(0.2, 0.4) == pytest.approx(0.8 / 3)
    assert harmonic_mean(0.0, 0.0) == 0
    assert harmonic_mean(0.3, 0.0) == 0
    assert math.isnan(harmonic_mean(0.3, float("nan")))
