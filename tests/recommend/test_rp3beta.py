"""RP3beta equals walks that are counted one by one, in float64."""

from __future__ import annotations

import numpy as np
import pytest

from mmx.errors import OptionError
from mmx.recommend.models.rp3beta import Config
from tests.recommend.closed import neighbours, scores_of, summed, weights_of
from tests.recommend.toy import N_ITEMS, N_USERS, TAKEN, toy_world

TAKERS = {i: [u for u, items in TAKEN.items() if i in items] for i in range(N_ITEMS)}


def walks(alpha: float, beta: float, count: int) -> np.ndarray:
    """From item j to a user to item i ≠ j, over |U_i|^β: the ``count`` likeliest of each j."""

    def similar(j: int, i: int) -> float:
        both = [v for v in TAKERS[j] if i in TAKEN[v]]
        steps = [len(TAKERS[j]) ** -alpha * len(TAKEN[v]) ** -alpha for v in both]
        return sum(steps) / len(TAKERS[i]) ** beta if both else 0.0

    return neighbours(similar, count)


@pytest.mark.parametrize("count", [1, 2, 50])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.6), (0.5, 0.0), (1.7, 1.3)])
def test_rp3beta(alpha: float, beta: float, count: int) -> None:
    expected = walks(alpha, beta, count)
    settings = {"alpha": alpha, "beta": beta, "neighbours": count, "unit_sums": False}
    found = weights_of("rp3beta", toy_world(), **settings)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)
    scores = scores_of("rp3beta", toy_world(), **settings)
    np.testing.assert_allclose(scores, summed(expected), rtol=1e-5, atol=1e-9)


def test_weights_in_sum_one() -> None:
    expected = walks(1.0, 0.6, 2)
    for j in range(N_ITEMS):
        expected[j] /= expected[j].sum() or 1
    found = weights_of("rp3beta", toy_world(), beta=0.6, neighbours=2)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)


def test_without_exponents_it_counts_who_took_both() -> None:
    """As ItemKNN without normalisation on either side."""
    mine = {"alpha": 0.0, "beta": 0.0, "unit_sums": False}
    theirs = {"shrinkage": 1.0, "from_power": 0.0, "to_power": 0.0}
    found = weights_of("rp3beta", toy_world(), **mine)
    np.testing.assert_allclose(found, 2 * weights_of("itemknn", toy_world(), **theirs))


def test_three_steps_of_the_walk_from_a_user() -> None:
    """P3 (β = 0, all items kept) times 1/|I_u| is the chance to end in an item not taken."""
    scores = scores_of("rp3beta", toy_world(), beta=0.0, unit_sums=False, neighbours=50)
    step = np.zeros((N_USERS, N_ITEMS))
    back = np.zeros((N_ITEMS, N_USERS))
    for u, items in TAKEN.items():
        for i in items:
            step[u, i], back[i, u] = 1 / len(items), 1 / len(TAKERS[i])
    chance = step @ back @ step
    for u, items in TAKEN.items():
        for i in set(range(N_ITEMS)) - set(items):
            assert scores[u, i] / len(items) == pytest.approx(chance[u, i], rel=1e-5)


@pytest.mark.parametrize("bad", [{"alpha": -0.1}, {"beta": -1.0}, {"neighbours": 0}])
def test_settings_are_checked(bad: dict[str, float]) -> None:
    with pytest.raises(OptionError):
        Config(**bad)  # type: ignore[arg-type]
