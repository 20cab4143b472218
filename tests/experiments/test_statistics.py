"""The statistics of a comparison, against scipy and against loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from mmx.experiments.power import RECALL, Variances, drawn_split_means, power, splits_needed
from mmx.experiments.statistics import (
    LEVEL,
    corrected_t,
    drawn_differences,
    effect_size,
    holm,
    interval,
    paired,
)


def slow_holm(p: list[float]) -> list[float]:
    """By its text: the step-down bound of each p, from the smallest on."""
    found, highest = [0.0] * len(p), 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=lambda n: p[n])):
        highest = max(highest, min(1.0, p[place] * (len(p) - rank)))
        found[place] = highest
    return found


def slow_corrected_t(d: list[float], n_test: int, n_train: int) -> float:
    """Nadeau and Bengio's statistic with loops."""
    k = len(d)
    mean = sum(d) / k
    variance = sum((x - mean) ** 2 for x in d) / (k - 1)
    t = mean / math.sqrt((1 / k + n_test / n_train) * variance)
    return float(2 * stats.t.cdf(-abs(t), df=k - 1))


@pytest.mark.parametrize("seed", range(5))
def test_equal_to_references_on_random_data(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = rng.random(7).tolist()
    assert holm(p) == pytest.approx(slow_holm(p))
    a, b = rng.random(40), rng.random(40)
    t, wilcoxon = paired(a, b)
    assert t == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert wilcoxon == pytest.approx(stats.wilcoxon(a, b).pvalue)
    d = a - b
    assert effect_size(a, b) == pytest.approx(np.mean(d) / np.std(d, ddof=1))
    few = rng.normal(size=int(rng.integers(2, 8)))
    assert corrected_t(few, 30 / 170) == pytest.approx(slow_corrected_t(few.tolist(), 30, 170))
    assert corrected_t(few, 0.0) == pytest.approx(stats.ttest_1samp(few, 0).pvalue)


def test_many_at_once_are_each_alone() -> None:
    d = np.random.default_rng(0).normal(size=(4, 3))
    assert corrected_t(d, 0.1) == pytest.approx([corrected_t(row, 0.1) for row in d])


def test_where_nothing_varies() -> None:
    assert corrected_t(np.zeros(3), 0.1) == 1.0
    assert corrected_t(np.full(3, 1e-15), 0.1) == 1.0  # what means leave behind
    assert corrected_t(np.full(3, 0.1), 0.1) == 0.0
    assert np.isnan(corrected_t(np.array([0.1]), 0.1))
    assert effect_size(np.ones(3), np.ones(3)) == 0.0
    assert np.isnan(effect_size(np.ones(3), np.zeros(3)))
    assert np.isnan(effect_size(np.ones(1), np.zeros(1)))


def test_a_missing_p_is_no_comparison() -> None:
    found = holm([0.03, float("nan"), 0.01])
    assert found[[0, 2]] == pytest.approx([0.03, 0.02])
    assert np.isnan(found[1])


def slow_draws(
    a: list[np.ndarray], b: list[np.ndarray], rng: np.random.Generator, draws: int
) -> np.ndarray:
    """The hierarchical bootstrap with loops."""
    found = []
    for _ in range(draws):
        users = rng.integers(a[0].shape[1], size=a[0].shape[1])
        total = 0.0
        for split in rng.integers(len(a), size=len(a)):
            for sign, arm in ((1, a[split]), (-1, b[split])):
                seeds = rng.integers(len(arm), size=len(arm))
                total += sign * np.mean([np.nanmean(arm[s][users]) for s in seeds]) / len(a)
        found.append(total)
    return np.array(found)


@pytest.mark.slow
def test_the_bootstrap_varies_as_one_with_loops() -> None:
    """Means and deviations of the draws, for splits that differ, seeds that differ, and users."""
    world = np.random.default_rng(3)
    for split, seed, user in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)):
        base = [world.random((1, 30)) for _ in range(3)]
        mine = [
            one + split * world.normal() + seed * world.normal(size=(2, 1))
            + user * world.normal(size=(1, 30))
            for one in base
        ]  # fmt: skip
        mine[0][:, 4] = base[0][:, 4] = np.nan  # a user whom a split does not test
        fast = drawn_differences(mine, base, np.random.default_rng(0), 4000)
        slow = slow_draws(mine, base, np.random.default_rng(1), 1500)
        assert fast.mean() == pytest.approx(slow.mean(), abs=0.1 * slow.std() + 1e-9)
        assert fast.std() == pytest.approx(slow.std(), rel=0.1)


def test_an_interval_pairs_splits_and_users() -> None:
    rng = np.random.default_rng(0)
    base = [rng.random((1, 50)) + 10 * n for n in range(3)]
    low, high = interval([one + 0.1 for one in base], base)
    assert low == pytest.approx(0.1)
    assert high == pytest.approx(0.1)
    low, high = interval([one + rng.normal(size=(1, 50)) for one in base], base)
    assert low < 0 < high
    assert interval(base, base) == (0.0, 0.0)


def test_an_interval_is_the_same_again() -> None:
    a, b = ([np.random.default_rng(n).random((2, 20))] for n in range(2))
    assert interval(a, b) == interval(a, b)


@pytest.mark.parametrize("times", [0, 1, 3])
def test_false_positives_of_the_primary_test(times: int) -> None:
    """0.05 ± 0.02; benchmarks/significance.py has it with users and the other tests."""
    v = Variances(
        times * RECALL.split, RECALL.seed, RECALL.user, RECALL.user_split, RECALL.user_seed
    )
    means = drawn_split_means(
        np.random.default_rng(0), v, simulations=20000, splits=3, seeds=3, users=600, ratio=1 / 8
    )
    assert np.mean(corrected_t(means, 1 / 8) < LEVEL) == pytest.approx(0.05, abs=0.02)


def test_drawn_split_means_have_the_variances() -> None:
    v = Variances(split=4.0, seed=9.0, user=50.0, user_split=20.0, user_seed=60.0)
    means = drawn_split_means(
        np.random.default_rng(0), v, simulations=40000, splits=2, seeds=3, users=10, ratio=0.5,
        gain=7.0,
    )  # fmt: skip
    shared, alone = 0.5 * 4 + 50 / 10, 4 + 9 / 3 + 20 / 10 + 60 / 30
    assert means.mean() == pytest.approx(7, abs=0.05)
    assert np.cov(means.T) == pytest.approx(
        np.array([[shared + alone, shared], [shared, shared + alone]]), rel=0.05
    )


def test_power_rises_with_gain_splits_seeds_and_users() -> None:
    world = {"splits": 4, "seeds": 2, "users": 600, "ratio": 1 / 8}
    base = power(0.05, **world)
    assert power(0.0, **world) < 0.07
    assert base > power(0.02, **world)
    for name, more in (("splits", 8), ("seeds", 9), ("users", 6000)):
        assert power(0.05, **{**world, name: more}) > base
    needed = splits_needed(0.05, seeds=2, users=600, ratio=1 / 8)
    assert needed is not None
    assert power(0.05, **{**world, "splits": needed}) >= 0.8
    assert power(0.05, **{**world, "splits": needed - 1}) < 0.8
    assert splits_needed(1e-4, seeds=1, users=60, ratio=1 / 8) is None
