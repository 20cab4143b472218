"""Negatives: never a positive, every other item as likely, the same for one seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmx.errors import DataError, OptionError
from mmx.recommend import sampling
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
    drawn_pairs = users.numpy() * ITEMS + items.numpy()
    assert not np.isin(drawn_pairs, train().keys).any()
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


def of(taken: list[list[int]], n_items: int) -> UserItems:
    users, items = np.array([(u, i) for u, mine in enumerate(taken) for i in mine]).T
    return UserItems.from_pairs(users, items, len(taken), n_items)


RULES = ("uniform", "popularity")


@pytest.mark.parametrize("rule", RULES)
def test_a_user_with_every_item_is_skipped_and_said(rule: str) -> None:
    sampler = NegativeSampler(of([[0, 1, 2], [0], [], [2]], 3), rule=rule)
    assert (sampler.pairs // 3).tolist() == [1, 3]
    assert sampler.skipped.startswith("1 user took every item")
    assert "3 of 5 training pairs are skipped" in sampler.skipped
    assert NegativeSampler(train(), rule=rule).skipped == ""


def test_by_popularity_who_took_all_that_anybody_took_is_skipped() -> None:
    world = of([[0, 1], [0], [0, 1]], 3)  # nobody took item 2
    assert NegativeSampler(world).skipped == ""
    sampler = NegativeSampler(world, rule="popularity")
    assert (sampler.pairs // 3).tolist() == [1]
    assert sampler.skipped.startswith("2 users took every item that anybody took")


@pytest.mark.parametrize("rule", RULES)
def test_where_nobody_is_left_it_says_so(rule: str) -> None:
    with pytest.raises(DataError, match=r"every user took every item.*choose --model"):
        NegativeSampler(of([[0, 1, 2]], 3), rule=rule)
    with pytest.raises(DataError, match="no training interaction"):
        NegativeSampler(UserItems.from_pairs(np.zeros(0, int), np.zeros(0, int), 2, 3), rule=rule)


@pytest.mark.parametrize("rule", RULES)
def test_who_took_nearly_everything_is_served_at_once(rule: str) -> None:
    """Drawn again and again, one item of 30,000 would take 30,000 rounds."""
    n = 30_000
    world = of([list(range(1, n)), [0]], n)
    sampler = NegativeSampler(world, rule=rule)
    users = torch.from_numpy(world.users)
    items = sampler.draw(users, torch.Generator().manual_seed(0))
    assert not items[:-1].any()
    assert items[-1] > 0


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("user", range(4))
def test_drawn_directly_items_are_as_likely_as_by_trying(
    monkeypatch: pytest.MonkeyPatch, rule: str, user: int
) -> None:
    monkeypatch.setattr(sampling, "REDRAWS", 0)
    world = of([[0, 2, 3, 6], [1, 2], [7], [0, 5, 6]], 8)  # item 4 nobody took
    weights = np.ones(8) if rule == "uniform" else world.item_counts
    weights = np.where(np.isin(user * 8 + np.arange(8), world.keys), 0, weights)
    draws = NegativeSampler(world, rule=rule)._others.draw(
        torch.full((30_000,), user), torch.Generator().manual_seed(user)
    )
    counts = np.bincount(draws, minlength=8)
    assert not counts[weights == 0].any()
    likely = weights > 0
    assert chi_square(counts[likely], 30_000 * weights[likely] / weights.sum()) < 24.3


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(OptionError, match="did you mean 'uniform'"):
        NegativeSampler(train(), rule="unifrom")
