"""Metrics beyond accuracy against loops in float64, and by hand where a definition has edges."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from mmx.recommend import beyond
from mmx.recommend.interactions import UserItems

N_USERS, N_ITEMS, K = 9, 23, 6
NAN = float("nan")


class Drawn:
    """Random lists of several lengths, a log in which some items have no interaction, vectors."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.lists = [rng.permutation(N_ITEMS)[: rng.integers(0, K + 1)] for _ in range(N_USERS)]
        self.lists[0] = rng.permutation(N_ITEMS)[:K]
        self.ranked = np.full((N_USERS, K), -1)
        for user, mine in enumerate(self.lists):
            self.ranked[user, : len(mine)] = mine
        took = rng.random((N_USERS, N_ITEMS)) < 0.2
        took[:, :3] = False
        took[4] = False
        self.train = UserItems.from_pairs(*np.nonzero(took), N_USERS, N_ITEMS)
        self.counts = self.train.item_counts
        self.vectors = rng.normal(size=(N_ITEMS, 3)).astype(np.float32)
        self.vectors[5] = 0
        self.present = rng.random(N_ITEMS) < 0.8
        self.categories = rng.integers(-1, 4, N_ITEMS)


def mean(values: list[float]) -> float:
    there = [value for value in values if not math.isnan(value)]
    return sum(there) / len(there) if there else NAN


def slow_gini(of: Drawn) -> float:
    """Half the relative mean difference over all pairs of items."""
    shown = [sum(float(i in mine) for mine in of.lists) for i in range(N_ITEMS)]
    apart = sum(abs(a - b) for a in shown for b in shown)
    return apart / (2 * N_ITEMS * sum(shown))


def slow_novelty(of: Drawn, user: int) -> float:
    total = sum(int(n) for n in of.counts)
    return mean([-math.log2(max(int(of.counts[i]), 1) / total) for i in of.lists[user]])


def slow_lift(of: Drawn) -> float:
    shown, taken = [], []
    for user, mine in enumerate(of.lists):
        profile = [i for u, i in zip(of.train.users, of.train.indices, strict=True) if u == user]
        if len(mine) and profile:
            shown.append(mean([float(of.counts[i]) for i in mine]))
            taken.append(mean([float(of.counts[i]) for i in profile]))
    return (mean(shown) - mean(taken)) / mean(taken)


def slow_cosines(of: Drawn, user: int) -> float:
    mine = [of.vectors[i].astype(float) for i in of.lists[user] if of.present[i]]
    mine = [v for v in mine if v.any()]
    return mean([1 - v @ w / math.sqrt((v @ v) * (w @ w)) for v, w in combinations(mine, 2)])


def slow_kinds(of: Drawn, user: int) -> float:
    mine = [of.categories[i] for i in of.lists[user] if of.categories[i] >= 0]
    return mean([float(a != b) for a, b in combinations(mine, 2)])


@pytest.mark.parametrize("seed", range(5))
def test_they_equal_loops(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beyond, "CELLS_AT_ONCE", 40)  # blocks of two users
    of, users = Drawn(seed), range(N_USERS)
    ranked, counts = of.ranked, of.counts
    different = {int(i) for mine in of.lists for i in mine}
    assert beyond.coverage(ranked, N_ITEMS) == len(different) / N_ITEMS
    assert beyond.gini(ranked, N_ITEMS) == pytest.approx(slow_gini(of))
    assert beyond.popularity_lift(ranked, counts, of.train) == pytest.approx(slow_lift(of))
    popular = [mean([float(counts[i]) for i in mine]) for mine in of.lists]
    vectors = beyond.diversity_of_vectors(ranked, of.vectors, of.present)
    for found, slow in (
        (beyond.novelty(ranked, counts), [slow_novelty(of, u) for u in users]),
        (beyond.popularity(ranked, counts), popular),
        (vectors, [slow_cosines(of, u) for u in users]),
        (beyond.diversity_of_categories(ranked, of.categories), [slow_kinds(of, u) for u in users]),
    ):
        assert found == pytest.approx(slow, nan_ok=True)
        assert beyond.mean_of(found) == pytest.approx(mean(slow))


def test_edges() -> None:
    """Even and one-sided lists; nobody with a list; items that are all alike."""
    even = np.array([[0, 1], [2, 3]])
    assert beyond.gini(even, 4) == 0
    assert beyond.gini(np.array([[0], [0]]), 4) == 0.75
    assert beyond.coverage(even, 8) == 0.5
    nobody = np.full((2, 3), -1)
    profiles = UserItems.from_pairs(np.array([0, 1]), np.array([0, 1]), 2, 4)
    assert math.isnan(beyond.gini(nobody, 4))
    assert math.isnan(beyond.mean_of(beyond.novelty(nobody, profiles.item_counts)))
    assert math.isnan(beyond.popularity_lift(nobody, profiles.item_counts, profiles))
    assert math.isnan(beyond.mean_of(beyond.diversity_of_categories(nobody, np.zeros(4, int))))
    same, all_there = np.ones((4, 2), np.float32), np.ones(4, dtype=bool)
    assert beyond.diversity_of_vectors(even, same, all_there) == pytest.approx([0, 0])
    assert beyond.diversity_of_categories(even, np.array([0, 0, 0, 1])).tolist() == [0, 1]
    assert np.isnan(beyond.diversity_of_categories(even, np.full(4, -1))).all()


def test_novelty_of_an_item_that_nobody_took() -> None:
    """It counts as one interaction: of eight, three bits, and not infinitely many."""
    counts = np.array([7, 1, 0])
    found = beyond.novelty(np.array([[1, -1], [2, -1], [0, 2]]), counts)
    assert found == pytest.approx([3, 3, (3 + math.log2(8 / 7)) / 2])
