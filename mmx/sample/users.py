"""Simulated users: who takes what, and when.

A user u takes a product i at time t with probability ∝ exp(x_ui) among the products that are
on sale at t and that u has not taken yet. The utility x_ui adds up

    what can be seen     category, shape, colour, pattern, accent and house style,
                         each with the user's own weights
    what cannot be seen  a few hidden traits of the product that only behaviour reveals, and
                         how popular the product is with everybody

so neither the pictures nor the behaviour explain everything. The shares are set by ``Taste``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DAY = 86_400  # seconds
START = 1_704_067_200  # 2024-01-01 00:00 UTC, seconds since 1970
DAYS = 365  # length of the log


@dataclass(frozen=True)
class Taste:
    """Standard deviations of the parts of a user's utility, in logits."""

    seen: tuple[float, ...]  # one for each visible attribute, in their order
    hidden: float = 0.7  # all hidden traits together
    popularity: float = 0.4  # the same for all users
    groups: int = 12  # of users with a common taste
    shared: float = 0.6  # part of the visible taste's variance that comes from the group


def launch_days(items: int, rng: np.random.Generator) -> np.ndarray:
    """(items,) day each product went on sale: half before the log begins, a fifth of them
    over the year, the rest in its last weeks."""
    kind = rng.choice(3, size=items, p=(0.5, 0.2, 0.3))
    over_year, last_weeks = rng.uniform(0, DAYS, items), rng.uniform(0.84 * DAYS, DAYS - 4, items)
    return np.select([kind == 1, kind == 2], [over_year, last_weeks], 0.0)


def utilities(
    attributes: np.ndarray, users: int, taste: Taste, rng: np.random.Generator
) -> np.ndarray:
    """(users, items) float64 utilities for products with (items, attributes) integer codes."""
    group = rng.integers(taste.groups, size=users)  # (U,)
    total = np.zeros((users, len(attributes)))
    for column, weight in zip(attributes.T, taste.seen, strict=True):
        values = int(column.max()) + 1
        common = rng.standard_normal((taste.groups, values))[group]  # (U, values)
        own = rng.standard_normal((users, values))
        preference = np.sqrt(taste.shared) * common + np.sqrt(1 - taste.shared) * own
        total += weight * preference[:, column]  # (U, I)
    traits = rng.standard_normal((len(attributes), 3)) / np.sqrt(3)  # (I, 3)
    total += taste.hidden * rng.standard_normal((users, 3)) @ traits.T
    return total + taste.popularity * rng.standard_normal(len(attributes))


def simulate(
    utility: np.ndarray, launched: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users, items and times (seconds since 1970), one row per interaction, in order of time.

    ``utility`` is (users, items), ``launched`` (items,) in days. No user takes a product
    twice or before its launch.
    """
    users, items = utility.shape
    limit = max(1, min(items // 3, int((launched <= 0).sum())))
    counts = (4 + rng.lognormal(2.2, 0.75, (users,))).astype(int).clip(1, limit)
    first = rng.uniform(0, 0.7 * DAYS, (users,))
    logs = [_takes(utility[u], launched, counts[u], first[u], rng) for u in range(users)]
    taken = np.concatenate([chosen for chosen, _ in logs])
    times = np.concatenate([days for _, days in logs])
    who = np.repeat(np.arange(users), [len(chosen) for chosen, _ in logs])
    order = np.argsort(times, kind="stable")
    seconds = START + (times * DAY).astype(np.int64)
    return who[order], taken[order], seconds[order]


def _takes(
    utility: np.ndarray, launched: np.ndarray, count: int, first: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One user's items and days. Adding Gumbel noise and taking the best draws from softmax."""
    days = np.sort(rng.uniform(first, DAYS, count))
    noisy = utility + rng.gumbel(size=(count, len(utility)))  # (count, items)
    noisy[launched > days[:, None]] = -np.inf
    chosen = np.empty(count, dtype=np.int64)
    for visit in range(count):
        chosen[visit] = noisy[visit].argmax()
        noisy[:, chosen[visit]] = -np.inf
    return chosen, days
