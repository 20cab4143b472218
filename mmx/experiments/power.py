"""How large a difference several splits and seeds can show: runs simulated by their variances.

The difference of two arms on split s, with seed r, of user u is taken as

    gain + shared + split_s + seed_sr + user_u + user_su + user_sru

each term normal with mean 0, in parts of the metric's mean, so that a variance measured on one
dataset serves another. ``shared`` is what all splits of one log have in common and no further
split can tell from a gain: Nadeau and Bengio (2003) take the correlation of splits to be
n_test / (n_train + n_test), so that its variance is n_test / n_train times that of ``split_s``.
``user_u`` is shared, too: the splits test the same users.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmx.experiments.statistics import LEVEL, corrected_t

DRAWN = 4000  # simulated comparisons
WANTED = 0.8  # probability with which a gain should be found
MOST = 30  # splits that are looked at


@dataclass(frozen=True)
class Variances:
    """Of the difference of two arms, in parts of the metric's mean, squared."""

    split: float  # of split means, whatever the seed
    seed: float  # of seeds within a split
    user: float  # of a user's difference that all splits share
    user_split: float  # of a user's difference within a split
    user_seed: float  # of a user's difference within a split and seed


# Of Recall@20, vbpr against bpr on the embedded sample, 5 splits x 4 seeds of 600 users; see
# benchmarks/significance.py --runs
RECALL = Variances(split=6.7e-5, seed=4.2e-4, user=0.022, user_split=0.16, user_seed=0.59)


def drawn_split_means(
    rng: np.random.Generator,
    variances: Variances,
    *,
    simulations: int,
    splits: int,
    seeds: int,
    users: int,
    ratio: float,
    gain: float = 0.0,
) -> np.ndarray:
    """(simulations, splits) differences of split means. ``ratio`` is n_test / n_train."""
    v = variances
    alone = v.split + v.seed / seeds + v.user_split / users + v.user_seed / (seeds * users)
    shared = ratio * v.split + v.user / users
    common = np.sqrt(shared) * rng.standard_normal((simulations, 1))
    return gain + common + np.sqrt(alone) * rng.standard_normal((simulations, splits))


def power(
    gain: float,
    *,
    splits: int,
    seeds: int,
    users: int,
    ratio: float,
    variances: Variances = RECALL,
    seed: int = 0,
) -> float:
    """The probability with which the primary test finds a true relative ``gain``."""
    means = drawn_split_means(
        np.random.default_rng(seed), variances, simulations=DRAWN, splits=splits, seeds=seeds,
        users=users, ratio=ratio, gain=gain,
    )  # fmt: skip
    return float(np.mean(corrected_t(means, ratio) < LEVEL))


def splits_needed(
    gain: float, *, seeds: int, users: int, ratio: float, variances: Variances = RECALL
) -> int | None:
    """The fewest splits with which the gain is found with probability WANTED; None above MOST."""
    for splits in range(2, MOST + 1):
        found = power(
            gain, splits=splits, seeds=seeds, users=users, ratio=ratio, variances=variances
        )
        if found >= WANTED:
            return splits
    return None
