"""False positives and power of the tests of ``mmx compare``, on simulated runs.

    python benchmarks/significance.py
    python benchmarks/significance.py --runs runs/bpr-* --against runs/vbpr-*

Runs without a difference are drawn with the variances of splits, seeds and users of
``mmx.experiments.power``, and with the variance of splits times 0, 3 and 100. Printed are the
share of simulations that the primary test (the t-test over split means, corrected by Nadeau and
Bengio) calls a difference at 0.05, the same of a plain hierarchical bootstrap over splits, seeds
and users whose 95 % interval leaves 0 out, and of the paired t-test over users; then how many
splits and seeds a true gain needs. With ``--runs`` the variances are estimated from run
directories: two arms on the same splits, each split with the same number of seeds.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from scipy import stats

from mmx.experiments.arms import arms_of
from mmx.experiments.power import RECALL, WANTED, Variances, splits_needed
from mmx.experiments.repeated import PerUser
from mmx.experiments.statistics import LEVEL, corrected_t, interval

METRIC = "recall@20"
RATIO = 1 / 8  # n_test / n_train of 80 / 10 / 10
AT_ONCE = 50  # simulations in memory
DRAWS = 200  # of each bootstrap


def estimated(difference: np.ndarray) -> Variances:
    """Variances of (splits, seeds, users) differences, by the method of moments.

    At least two of each. A negative estimate, where a term is too small to be told, counts as 0.
    """
    _, seeds, users = difference.shape
    means = difference.mean(2)  # (splits, seeds)
    around = difference - means[:, :, None]
    user_seed = float(around.var(1, ddof=1).mean())
    together = np.cov(around.mean(1))  # (splits, splits) over users
    apart = ~np.eye(len(together), dtype=bool)
    user = float(together[apart].mean())
    user_split = float(np.trace(together) / len(together)) - user - user_seed / seeds
    seed = float(means.var(1, ddof=1).mean()) - user_seed / users
    split = float(means.mean(1).var(ddof=1)) - seed / seeds - user_split / users
    split -= user_seed / (seeds * users)
    return Variances(*(max(0.0, value) for value in (split, seed, user, user_split, user_seed)))


def of_runs(paths: list[Path], others: list[Path], metric: str) -> Variances:
    """Variances of the relative difference of two arms; users that all splits test."""
    arms = arms_of([*others, *paths])
    if len(arms) != 2:
        raise SystemExit(f"{len(arms)} arms are given, two are expected")
    table = PerUser.of([run for arm in arms for run in arm.repetitions], [metric])
    base, mine = (table.by_split(arm.repetitions, metric) for arm in arms)
    if len(base) < 2 or len({len(v) for d in (base, mine) for v in d.values()} | {0, 1}) != 3:
        raise SystemExit("two splits or more, each with the same two seeds or more, are expected")
    a, b = (np.stack([one[split] for split in base]) for one in (mine, base))
    tested = ~np.isnan(a).any((0, 1))
    return estimated((a - b)[:, :, tested] / b[:, :, tested].mean())


def drawn(
    rng: np.random.Generator, v: Variances, n: int, shape: tuple[int, int, int]
) -> np.ndarray:
    """(n, splits, seeds, users) differences without a gain; see ``mmx.experiments.power``."""
    splits, seeds, users = shape
    normal = rng.standard_normal
    found = np.sqrt(v.user_seed) * normal((n, splits, seeds, users), np.float32)
    found += np.sqrt(v.user_split) * normal((n, splits, 1, users), np.float32)
    found += np.sqrt(v.user) * normal((n, 1, 1, users), np.float32)
    found += np.sqrt(v.seed) * normal((n, splits, seeds, 1), np.float32)
    found += np.sqrt(v.split) * normal((n, splits, 1, 1), np.float32)
    found += np.sqrt(RATIO * v.split) * normal((n, 1, 1, 1), np.float32)
    return found


def rejected(
    v: Variances, n: int, shape: tuple[int, int, int], bootstrap: bool
) -> dict[str, float]:
    """The shares of ``n`` simulations without a gain that each test calls a difference."""
    rng, counts = np.random.default_rng(0), np.zeros(3)
    for start in range(0, n, AT_ONCE):
        runs = drawn(rng, v, min(AT_ONCE, n - start), shape)
        counts[0] += np.sum(corrected_t(runs.mean((2, 3)), RATIO) < LEVEL)
        counts[1] += (stats.ttest_1samp(runs.mean((1, 2)), 0, axis=1).pvalue < LEVEL).sum()
        counts[2] += sum(map(outside, runs)) if bootstrap else np.nan
    return dict(zip(("primary", "t over users", "bootstrap"), counts / n, strict=True))


def outside(run: np.ndarray) -> bool:
    """Whether the 95 % interval of the hierarchical bootstrap leaves 0 out."""
    nothing = [np.zeros((1, run.shape[2]))] * len(run)
    low, high = interval(list(run), nothing, draws=DRAWS)
    return not low <= 0 <= high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", nargs="+", type=Path, help="runs of an arm")
    parser.add_argument("--against", nargs="+", type=Path, help="runs of another arm")
    parser.add_argument("--metric", default=METRIC)
    parser.add_argument("--simulations", type=int, default=500)
    parser.add_argument("--users", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    if (given.runs is None) != (given.against is None):
        parser.error("--runs and --against go together")
    v = of_runs(given.runs, given.against, given.metric) if given.runs else RECALL
    print({name: float(f"{value:.3g}") for name, value in asdict(v).items()})
    print(f"false positives at {LEVEL}, {given.simulations} simulations, {given.users} users")
    for splits in (3, 5):
        for times in (1, 0, 3, 100):
            shape = (splits, given.seeds, given.users)
            now = replace(v, split=times * v.split)
            shares = rejected(now, given.simulations, shape, splits == 3)
            words = "  ".join(f"{name} {share:.3f}" for name, share in shares.items())
            print(f"{splits} splits, {given.seeds} seeds, split variance x {times}: {words}")
    print(f"splits for a power of {WANTED}")
    for users in (given.users, 10 * given.users):
        for gain in (0.02, 0.05):
            words = ", ".join(f"{n} with {_needed(gain, n, users, v)}" for n in (1, 3, 5))
            print(f"{100 * gain:.0f} %, {users} users, by seeds: {words}")


def _needed(gain: float, seeds: int, users: int, v: Variances) -> int | str:
    return splits_needed(gain, seeds=seeds, users=users, ratio=RATIO, variances=v) or "over 30"


if __name__ == "__main__":
    main()
