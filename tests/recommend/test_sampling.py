"""Negatives: never a positive, every other item alike, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmx.errors import DataError, OptionError
from mmx.recommend.interactions import UserItems
from mmx.recommend.sampling import NegativeSampler

# user 0 lacks items 2 and 5 only, user 1 has one item, user 2 none; item 7 nobody took
TAKEN = {0: [0, 1, 3, 4, 6], 1: [5], 2: []}
ITEMS = 8


def train() -> UserItems:
    pairs = [(u, i) for u, items in TAKEN.items() for i in items]
    users, items = np.array(pairs).T
    return UserItems.from_pairs(users, items, len(TAKEN), ITEMS)


def drawn(user: int, count: int, rule: str = "uniform", seed: int = 0) -> np.ndarray:
    generator = torch.Generator().manual_seed(seed)
    sampler = NegativeSampler(train(), rule=rule)
    return sampler.draw(torch.full((count,), user), generator).numpy()


def chi_square(counts: np.ndarray, expected: np.ndarray) -> float:
    return float(((counts - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("rule", ["uniform", "popularity"])
def test_a_positive_is_never_drawn(rule: str) -> None:
    users = torch.arange(20_000) % (2 if rule == "popularity" else 3)
    items = NegativeSampler(train(), rule=rule).draw(users, torch.Generator().manual_seed(1))
    assert not train().contains(users.numpy(), items.numpy()).any()
    assert int(items.min()) >= 0
    assert int(items.max()) < ITEMS


@pytest.mark.parametrize("user", [0, 1, 2])
def test_every_other_item_is_as_likely(user: int) -> None:
    """χ² with at most 7 degrees of freedom exceeds 24.3 once in a thousand seeds."""
    counts = np.bincount(drawn(user, 30_000), minlength=ITEMS)
    others = np.setdiff1d(np.arange(ITEMS), TAKEN[user])
    assert counts.sum() == counts[others].sum()
    assert chi_square(counts[others], np.full(len(others), 30_000 / len(others))) < 24.3


def test_by_popularity_an_item_is_as_likely_as_it_is_frequent() -> None:
    pairs = [(0, 0), (1, 1), (2, 1), (3, 1), (1, 2), (2, 2)]  # counts 1, 3, 2; item 3 nobody
    users, items = np.array(pairs).T
    sampler = NegativeSampler(UserItems.from_pairs(users, items, 5, 4), rule="popularity")
    generator = torch.Generator().manual_seed(0)
    counts = np.bincount(sampler.draw(torch.full((30_000,), 4), generator), minlength=4)
    assert counts[3] == 0
    assert chi_square(counts[:3], 30_000 * np.array([1, 3, 2]) / 6) < 13.8  # 2 degrees, 1 in 1000


def test_the_seed_decides() -> None:
    np.testing.assert_array_equal(drawn(0, 500), drawn(0, 500))
    assert not np.array_equal(drawn(0, 500), drawn(0, 500, seed=1))


def test_a_user_with_every_item_is_refused() -> None:
    full = UserItems.from_pairs(np.zeros(3, int), np.arange(3), 1, 3)
    with pytest.raises(DataError, match="no negative item"):
        NegativeSampler(full)


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(OptionError, match="did you mean 'uniform'"):
        NegativeSampler(train(), rule="unifrom")
