"""Every metric equals an independent slow reference, at any K, also beyond the catalogue."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmx.recommend.metrics import CUTOFFS, METRICS, all_metrics
from tests.recommend.slow import slow_metric


@st.composite
def users(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """A hit matrix, how many relevant items each user has, and a cut-off."""
    n, width = draw(st.integers(1, 5)), draw(st.integers(1, 9))
    rows = st.lists(st.booleans(), min_size=width, max_size=width)
    hits = np.array(draw(st.lists(rows, min_size=n, max_size=n)))
    unseen = draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    relevant = np.maximum(hits.sum(1) + unseen, 1)  # a user always has a relevant item
    return hits, relevant, draw(st.integers(1, 14))  # K up to more than the list is long


@pytest.mark.parametrize("name", sorted(METRICS))
@given(case=users())
def test_it_equals_the_definition(name: str, case: tuple[np.ndarray, np.ndarray, int]) -> None:
    hits, relevant, k = case
    expected = [
        slow_metric(name, list(row), int(r), k) for row, r in zip(hits, relevant, strict=True)
    ]
    found = METRICS[name](hits, relevant, k)
    assert found.shape == (len(hits),)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_every_metric_has_a_reference() -> None:
    assert set(METRICS) == {"recall", "ndcg", "precision", "map", "hitrate", "mrr"}


def test_by_hand() -> None:
    """One of two relevant items at rank 2: what each metric must be."""
    hits, relevant = np.array([[False, True, False]]), np.array([2])
    values = {name: metric(hits, relevant, 3)[0] for name, metric in METRICS.items()}
    assert values == {
        "recall": 0.5,
        "precision": pytest.approx(1 / 3),
        "hitrate": 1.0,
        "mrr": 0.5,
        "map": 0.25,
        "ndcg": pytest.approx((1 / math.log2(3)) / (1 + 1 / math.log2(3))),
    }


def test_a_user_with_one_item_found_first_has_ones() -> None:
    hits, relevant = np.array([[True] + [False] * 4]), np.array([1])
    for name, metric in METRICS.items():
        assert metric(hits, relevant, 5)[0] == (0.2 if name == "precision" else 1.0)


def test_all_metrics_names_every_cut_off() -> None:
    hits, relevant = np.zeros((4, 50), dtype=bool), np.ones(4, dtype=np.int64)
    found = all_metrics(hits, relevant)
    assert set(found) == {f"{name}@{k}" for name in METRICS for k in CUTOFFS}
    assert all((values == 0).all() for values in found.values())


def test_nobody_to_measure() -> None:
    found = all_metrics(np.zeros((0, 50), dtype=bool), np.zeros(0, dtype=np.int64))
    assert all(values.shape == (0,) for values in found.values())
