"""The mathematics of a comparison: pure functions over arrays of differences.

A primary test for several splits, paired tests over users, their correction, an effect size and
an interval. None of them reads a run.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from scipy import stats

LEVEL = 0.05  # of the corrected p-value below which a difference is marked
ROUNDING = 1e-12  # means over seeds that differ by less are the same
DRAWS = 1000  # of the bootstrap
CELLS_AT_ONCE = 4_000_000  # counts of drawn users in memory


def holm(p: Sequence[float]) -> np.ndarray:
    """Holm-Bonferroni: p-values (m,) corrected for their number, in the order given.

    The i-th smallest is multiplied by m - i + 1, then no one may be below its predecessor
    (Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979). A NaN, where there is
    no test, counts as none and stays.
    """
    values = np.asarray(p, dtype=float)
    there = np.flatnonzero(~np.isnan(values))
    order = there[np.argsort(values[there])]
    raised = values[order] * np.arange(len(order), 0, -1)
    corrected = np.full(len(values), np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(raised), 1.0)
    return corrected


def paired(values: np.ndarray, baseline: np.ndarray) -> tuple[float, float]:
    """Two-sided p-values of the paired t-test and of Wilcoxon's, over (users,) each.

    1 where nothing varies: identical values are no evidence of a difference.
    """
    difference = _rounded(values - baseline)
    if len(difference) < 2 or not difference.any():
        return 1.0, 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # one constant difference: p is 0
        t = stats.ttest_1samp(difference, 0.0).pvalue
        w = stats.wilcoxon(difference).pvalue
    return float(t), float(w)


def effect_size(values: np.ndarray, baseline: np.ndarray) -> float:
    """Cohen's d of paired values, over (users,): mean of the differences / their deviation.

    0 where nothing differs, NaN where all differ by the same or there is one user.
    """
    difference = _rounded(values - baseline)
    if not difference.any():
        return 0.0
    deviation = float(np.std(difference, ddof=1)) if len(difference) > 1 else 0.0
    return float(difference.mean()) / deviation if deviation > ROUNDING else float("nan")


def corrected_t(differences: np.ndarray, ratio: float) -> np.ndarray | float:
    """Two-sided p-values of the t-test over split means (..., k), corrected for their overlap.

    The splits of one log share most of their training data, so that their means vary together
    and the plain variance s²/k is too small. Nadeau and Bengio (Inference for the Generalization
    Error, Machine Learning 52, 2003, section 3): t = mean / √(s² (1/k + n_test / n_train)) over
    k - 1 degrees of freedom. ``ratio`` is n_test / n_train. NaN below two splits; 1 where all
    differences are 0, 0 where they are one other number.
    """
    differences = _rounded(np.asarray(differences, dtype=float))
    k = differences.shape[-1]
    if k < 2:
        return np.full(differences.shape[:-1], np.nan)[()]
    mean, deviation = differences.mean(-1), differences.std(-1, ddof=1)
    deviation = np.where(deviation < ROUNDING, 0.0, deviation)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = mean / (deviation * np.sqrt(1 / k + ratio))
    return np.where(np.isnan(t), 1.0, 2 * stats.t.sf(np.abs(t), k - 1))[()]


def interval(
    values: Sequence[np.ndarray],
    baseline: Sequence[np.ndarray],
    *,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = LEVEL,
) -> tuple[float, float]:
    """Bounds of the difference of means by a hierarchical bootstrap over splits, seeds and users.

    Both arms are given split by split, each (seeds, users), with the same users in both and NaN
    for a user that a split does not test. A draw takes splits with replacement, seeds of each
    arm within a split, and users, the same in all. For an interval only: as a test it rejects
    too seldom where users vary most, and too often where splits do (docs/evaluation.md).
    """
    means = drawn_differences(values, baseline, np.random.default_rng(seed), draws)
    means = means[~np.isnan(means)]
    if not len(means):
        return float("nan"), float("nan")
    low, high = np.quantile(means, [level / 2, 1 - level / 2])
    return float(low), float(high)


def drawn_differences(
    values: Sequence[np.ndarray],
    baseline: Sequence[np.ndarray],
    rng: np.random.Generator,
    draws: int,
) -> np.ndarray:
    """(draws,) differences of means of the hierarchical bootstrap; see ``interval``."""
    k = len(values)
    chosen = rng.integers(k, size=(1, draws, k))  # of the splits, at each of k places
    total = np.zeros(draws)
    drawn = _means_of_drawn_users([*values, *baseline], rng, draws)
    for sign, arm in ((1, drawn[:k]), (-1, drawn[k:])):
        seeds = [rng.integers(m.shape[1], size=(draws, k, m.shape[1])) for m in arm]
        each = [
            np.take_along_axis(m[:, None], pick, 2).mean(2)  # (draws, k)
            for m, pick in zip(arm, seeds, strict=True)
        ]
        total += sign * np.take_along_axis(np.stack(each), chosen, 0)[0].mean(1)
    return total


def _means_of_drawn_users(
    runs: Sequence[np.ndarray], rng: np.random.Generator, draws: int
) -> list[np.ndarray]:
    """Of each (seeds, users) array (draws, seeds) means over users drawn with replacement."""
    users = runs[0].shape[1]
    sums = [np.where(np.isnan(one), 0.0, one).T for one in runs]  # (users, seeds)
    tested = [(~np.isnan(one)).T.astype(float) for one in runs]
    found: list[list[np.ndarray]] = [[] for _ in runs]
    step = max(1, CELLS_AT_ONCE // max(users, 1))
    for start in range(0, draws, step):
        counts = _counts(rng, min(step, draws - start), users)
        for one, here, parts in zip(sums, tested, found, strict=True):
            with np.errstate(invalid="ignore"):  # a draw without any tested user
                parts.append((counts @ one) / (counts @ here))
    return [np.concatenate(parts) for parts in found]


def _counts(rng: np.random.Generator, draws: int, users: int) -> np.ndarray:
    """(draws, users) how often each is drawn."""
    places = rng.integers(users, size=(draws, users)) + users * np.arange(draws)[:, None]
    return np.bincount(places.ravel(), minlength=draws * users).reshape(draws, users).astype(float)


def _rounded(difference: np.ndarray) -> np.ndarray:
    return np.where(np.abs(difference) < ROUNDING, 0.0, difference)
