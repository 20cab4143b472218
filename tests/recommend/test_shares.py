"""Processes that evaluate together get the metrics of one that evaluates alone."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mmx.recommend.evaluation import evaluate_scorer
from mmx.recommend.scoring import Factors
from mmx.recommend.training import _validated
from mmx.recommend.validation import evaluated_users
from tests.recommend.short_training import log

DATA = log()


def together(scorer: Factors, size: int) -> list[dict[str, float]]:
    """The metrics that each of so many processes has."""
    sums: list[list[float]] = []

    def noted(values: list[float]) -> list[float]:
        sums.append(values)
        return [1.0] * len(values)

    def of(rank: int, add: Callable[[list[float]], list[float]]) -> dict[str, float]:
        processes: Any = SimpleNamespace(rank=rank, size=size, sums=add)
        return _validated(scorer, DATA, processes)

    for rank in range(size):
        of(rank, noted)
    users = [count for count, *_ in sums]
    assert max(users) - min(users) <= 1
    assert sum(users) == len(evaluated_users(DATA.valid, DATA.known))
    total = np.sum(sums, axis=0).tolist()
    return [of(rank, lambda values: total) for rank in range(size)]


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_shares_make_the_whole(size: int) -> None:
    """Also where there are more processes than users."""
    rng = np.random.default_rng(0)
    scorer = Factors(*(rng.standard_normal((n, 8)).astype(np.float32) for n in (60, 90)))
    alone = evaluate_scorer(scorer, DATA.valid, DATA.known, cutoffs=(20,))
    assert 50 < len(alone.users) <= 60
    for found in together(scorer, size):
        assert found.keys() == alone.means.keys()
        for name, value in alone.means.items():
            assert found[name] == pytest.approx(value, abs=1e-12)
            assert size > 1 or found[name] == value  # to the bit


def test_users_are_shared_evenly() -> None:
    rng = np.random.default_rng(0)
    scorer = Factors(*(rng.standard_normal((n, 8)).astype(np.float32) for n in (60, 90)))
    whole = evaluate_scorer(scorer, DATA.valid, DATA.known)
    parts = [
        evaluate_scorer(scorer, DATA.valid, DATA.known, share=slice(rank, None, 3))
        for rank in range(3)
    ]
    assert sorted(np.concatenate([part.users for part in parts])) == whole.users.tolist()
    assert max(len(part.users) for part in parts) - min(len(part.users) for part in parts) <= 1
    assert {part.unscored for part in parts} == {whole.unscored}
