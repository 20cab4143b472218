"""SLIM equals an elastic net per item: coordinate descent in loops, and scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest

from mmx.errors import OptionError, RunError
from mmx.recommend import memory
from mmx.recommend.blocks.item_item import SparseRows
from mmx.recommend.blocks.nonnegative import nonnegative_minimum
from mmx.recommend.interactions import UserItems
from mmx.recommend.models import slim
from mmx.recommend.protocol import World
from tests.recommend.closed import X, scores_of, summed, weights_of
from tests.recommend.toy import N_ITEMS, toy_world

SETTINGS = [(0.0, 0.5), (0.3, 0.1), (1.0, 2.0)]


def descended(x: np.ndarray, l1: float, l2: float, sweeps: int = 3000) -> np.ndarray:
    """min ½ ‖x_i − X w‖² + β/2 ‖w‖² + λ Σ w, w ≥ 0, w_i = 0, one coordinate at a time."""
    items = x.shape[1]
    w = np.zeros((items, items))
    for i in range(items):
        for _ in range(sweeps):
            for j in range(items):
                if j != i and x[:, j].any():
                    rest = x[:, i] - x @ w[:, i] + x[:, j] * w[j, i]
                    w[j, i] = max(0.0, (x[:, j] @ rest - l1) / (x[:, j] @ x[:, j] + l2))
    return w


@pytest.mark.parametrize(("l1", "l2"), SETTINGS)
def test_slim(l1: float, l2: float) -> None:
    expected = descended(X, l1, l2, 300)
    found = weights_of("slim", toy_world(), l1=l1, l2=l2)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    scores = scores_of("slim", toy_world(), l1=l1, l2=l2)
    np.testing.assert_allclose(scores, summed(expected), rtol=1e-5, atol=1e-6)
    assert (expected > 0).sum() >= 3


def larger(users: int = 120, items: int = 60) -> tuple[UserItems, np.ndarray]:
    taken = np.random.default_rng(4).random((users, items)) < np.linspace(0.02, 0.4, items)
    return UserItems.from_pairs(*np.nonzero(taken), users, items), taken.astype(float)


def dense(rows: SparseRows) -> np.ndarray:
    out = np.zeros((len(rows.indptr) - 1, rows.n_columns))
    out[np.repeat(np.arange(len(out)), np.diff(rows.indptr)), rows.indices] = rows.values
    return out


@pytest.mark.parametrize(("l1", "l2"), [(0.5, 1.0), (3.0, 20.0), (0.01, 0.02)])
def test_it_equals_scikit_learns_elastic_net(l1: float, l2: float) -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    train, x = larger()
    found = slim.fit(slim.Config(l1=l1, l2=l2), World(train)).weights
    assert isinstance(found, SparseRows)
    net = linear.ElasticNet(
        alpha=(l1 + l2) / len(x), l1_ratio=l1 / (l1 + l2), positive=True, fit_intercept=False,
        max_iter=100_000, tol=1e-10,
    )  # fmt: skip
    expected = np.zeros((x.shape[1], x.shape[1]))
    for i in range(x.shape[1]):
        others = np.arange(x.shape[1]) != i
        expected[others, i] = net.fit(x[:, others], x[:, i]).coef_
    np.testing.assert_allclose(dense(found), expected, atol=1e-4)
    assert (expected > 0).sum() > 100


def test_the_solution_meets_its_conditions() -> None:
    """The gradient is 0 where a weight is above 0, and at least 0 where it is 0."""
    train, x = larger()
    w = dense(slim.fit(slim.Config(l1=0.7, l2=3.0), World(train)).weights)  # type: ignore[arg-type]
    gradient = -x.T @ (x - x @ w) + 3.0 * w + 0.7
    off = ~np.eye(len(w), dtype=bool)
    assert np.abs(gradient[w > 0]).max() < 1e-4
    assert gradient[off & (w == 0)].min() > -1e-4
    assert not np.diag(w).any()
    assert w.min() == 0


def test_a_large_l1_leaves_nothing() -> None:
    assert not weights_of("slim", toy_world(), l1=50.0).any()


@pytest.mark.parametrize("seed", range(20))
def test_nonnegative_minimum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    m = int(rng.integers(1, 40))
    root = rng.normal(size=(m, m + 2))
    a, b = root @ root.T + 0.01 * np.eye(m), rng.normal(size=m)
    w = nonnegative_minimum(a, b)
    gradient = a @ w - b
    assert w.min() >= 0
    assert gradient.min() > -1e-8 * np.abs(a).max()
    assert np.abs(gradient[w > 0]).max(initial=0) < 1e-8 * np.abs(a).max()


def test_nonnegative_minimum_one_entry_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmx.recommend.blocks.nonnegative.TRIES", -1)
    rng = np.random.default_rng(0)
    root = rng.normal(size=(12, 12))
    a, b = root @ root.T + 0.1 * np.eye(12), rng.normal(size=12)
    slow = nonnegative_minimum(a, b)
    monkeypatch.undo()
    np.testing.assert_allclose(slow, nonnegative_minimum(a, b), atol=1e-10)


def test_nonnegative_minimum_of_nothing() -> None:
    assert nonnegative_minimum(np.zeros((0, 0)), np.zeros(0)).shape == (0,)
    np.testing.assert_array_equal(nonnegative_minimum(np.eye(2), -np.ones(2)), np.zeros(2))


def test_it_says_when_memory_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_there", lambda: 64)
    with pytest.raises(RunError, match=r"SLIM of 9 items .*--model itemknn"):
        slim.fit(slim.Config(), toy_world())


@pytest.mark.parametrize("bad", [{"l1": -0.1}, {"l2": 0.0}])
def test_settings_are_checked(bad: dict[str, float]) -> None:
    with pytest.raises(OptionError):
        slim.Config(**bad)


def test_items_are_rows() -> None:
    """W is not symmetric: row j holds what item j says of the others."""
    found = weights_of("slim", toy_world(), l1=0.3, l2=0.1)
    assert found.shape == (N_ITEMS, N_ITEMS)
    assert not np.allclose(found, found.T)
