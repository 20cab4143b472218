"""Groups of users and items: how each is defined, as pure functions of training interactions."""

from __future__ import annotations

import numpy as np

HEAD, TAIL = 0.2, 0.8  # shares of the training interactions


def users_by_activity(counts: np.ndarray) -> dict[str, np.ndarray]:
    """(users,) training items of each user → masks of the least, the middle and the most active.

    Cut at the terciles, so that each has about a third; users with equally many are together.
    """
    if not len(counts):
        return dict.fromkeys(("few", "some", "many"), np.zeros(0, dtype=bool))
    low, high = np.quantile(counts, [1 / 3, 2 / 3], method="inverted_cdf")
    return {
        "few": counts <= low,
        "some": (counts > low) & (counts <= high),
        "many": counts > high,
    }


def items_by_popularity(counts: np.ndarray) -> dict[str, np.ndarray]:
    """(items,) training interactions of each item → masks of head, torso and tail.

    An item is in the head if the items more popular than it have together less than 20 % of the
    training interactions, in the tail if they have at least 80 %, else in the torso. Items that
    are equally popular are together; one without interactions is in none. Abdollahpouri et al.,
    RecSys 2020, cut at the same shares.
    """
    levels, inverse, times = np.unique(counts, return_inverse=True, return_counts=True)
    total = levels * times
    above = (total.sum() - np.cumsum(total))[inverse]  # interactions of more popular items
    share, there = above / max(total.sum(), 1), counts > 0
    head, tail = there & (share < HEAD), there & (share >= TAIL)
    return {"head": head, "torso": there & ~head & ~tail, "tail": tail}


def items_by_training(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Masks of the items with and without training interactions: warm and cold."""
    return {"warm": counts > 0, "cold": counts == 0}


def harmonic_mean(left: float, right: float) -> float:
    """2ab / (a + b): high only where both are. 0 where both are 0."""
    return 2 * left * right / (left + right) if left + right else left + right
