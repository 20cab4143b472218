"""L3AE equals a least-squares problem per item in float64, and EASE where nothing guides it."""

from __future__ import annotations

import numpy as np
import pytest

from mmx.errors import OptionError, RunError
from mmx.recommend import memory
from mmx.recommend.blocks import content_regression
from mmx.recommend.interactions import UserItems
from mmx.recommend.models import l3ae
from mmx.recommend.protocol import World
from tests.recommend.closed import X, normal, scores_of, slow_ease, summed, weights_of
from tests.recommend.toy import N_ITEMS, toy_features, toy_world


def guided(contents: np.ndarray, reg: float, content_reg: float, guide: float) -> np.ndarray:
    """Column j by itself: ‖x_j − Σ x_i b_i‖² + λ_X ‖b‖² + λ_E ‖b − c‖² over all i ≠ j."""
    gram, c = X.T @ X, slow_ease(contents, content_reg)
    b = np.zeros((N_ITEMS, N_ITEMS))
    for j in range(N_ITEMS):
        others = [i for i in range(N_ITEMS) if i != j]
        left = gram[np.ix_(others, others)] + (reg + guide) * np.eye(N_ITEMS - 1)
        b[others, j] = np.linalg.solve(left, gram[others, j] + guide * c[others, j])
    return b


@pytest.mark.parametrize(("reg", "guide"), [(2.0, 3.0), (20.0, 0.5), (-1.0, 4.0)])
@pytest.mark.parametrize(
    ("text", "shares"), [("", {"image": 0.5, "text": 0.5}), ("text:1", {"text": 1.0})]
)
def test_l3ae(reg: float, guide: float, text: str, shares: dict[str, float]) -> None:
    world = toy_world("image", "text")
    expected = guided(normal(world, shares), reg, 0.7, guide)
    settings = {"reg": reg, "content_reg": 0.7, "guide": guide, "weights": text}
    found = weights_of("l3ae", world, **settings)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    scores = scores_of("l3ae", world, **settings)
    np.testing.assert_allclose(scores, summed(expected), rtol=1e-5, atol=1e-5)


def test_without_guide_it_is_ease() -> None:
    plain = weights_of("ease", toy_world(), reg=5.0)
    found = weights_of("l3ae", toy_world("image"), reg=5.0, guide=0.0)
    np.testing.assert_array_equal(found, plain)


def test_an_item_that_nobody_took_has_the_weights_of_its_contents() -> None:
    world = toy_world("image")
    c = slow_ease(normal(world, {"image": 1.0}), 0.7)
    found = weights_of("l3ae", world, reg=2.0, guide=6.0, content_reg=0.7)
    np.testing.assert_allclose(found[8], 6 / 8 * c[8], rtol=1e-4, atol=1e-6)
    assert found[8].any()


def test_the_gradient_is_zero_at_the_solution() -> None:
    rng = np.random.default_rng(4)
    train = UserItems.from_pairs(*np.nonzero(rng.random((90, N_ITEMS)) < 0.3), 90, N_ITEMS)
    world = World(train, toy_features("image", "text"))
    config = l3ae.Config(reg=12.0, guide=30.0, content_reg=1.5)
    b = np.asarray(l3ae.fit(config, world).weights, dtype=np.float64)
    x = np.zeros((90, N_ITEMS))
    x[train.users, train.indices] = 1
    c = slow_ease(normal(world, {"image": 0.5, "text": 0.5}), 1.5)
    gradient = -x.T @ (x - x @ b) + 12 * b + 30 * (b - c)
    off = ~np.eye(N_ITEMS, dtype=bool)
    assert np.abs(gradient[off]).max() < 1e-5 * np.abs(x.T @ x).max()
    assert not np.diag(b).any()


def test_keep_makes_the_weights_sparse() -> None:
    found = weights_of("l3ae", toy_world("image"), reg=1.0, keep=2)
    assert ((found != 0).sum(1) <= 2).all()


def test_wide_vectors_invert_the_smaller_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    f = np.random.default_rng(0).normal(size=(20, 300)).astype(np.float32)
    tall, wide = (content_regression.content_columns(v, 3.0) for v in (f.T.copy(), f))
    assert (tall.shape, wide.shape) == ((20, 300), (300, 20))
    for vectors, columns in ((f.T, tall), (f, wide)):
        found = vectors @ columns
        np.fill_diagonal(found, 0)
        slow = slow_ease(vectors.astype(float) @ vectors.T.astype(float), 3.0)
        np.testing.assert_allclose(found, slow, rtol=1e-3, atol=1e-5)


def test_settings_are_checked() -> None:
    with pytest.raises(OptionError, match=r"--set reg=-20: above -10 is expected with guide=10,"):
        l3ae.Config(reg=-20.0, guide=10.0)
    for bad in ({"content_reg": 0.0}, {"guide": -1.0}, {"keep": -1}, {"reg": float("nan")}):
        with pytest.raises(OptionError):
            l3ae.Config(**bad)  # type: ignore[arg-type]


def test_a_regularisation_of_nothing_is_refused() -> None:
    """Where items are no more than dimensions each is then explained by itself."""
    with pytest.raises(RunError, match=r"--set content_reg=1e-300 is too small .*raise it"):
        content_regression.content_columns(np.eye(3, 5, dtype=np.float32), 1e-300)
    singular = np.ones((3, 5), dtype=np.float32)
    with pytest.raises(RunError, match="raise it"):
        content_regression.content_columns(singular, 1e-300)


def test_it_says_when_memory_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_there", lambda: 64)
    with pytest.raises(RunError, match="--model itemknn"):
        l3ae.fit(l3ae.Config(), toy_world("image"))
