"""Weights: each closed form equals a float64 reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mmx.recommend.inductive import newcomers
from mmx.recommend.models import MODELS, find_model
from mmx.recommend.models.ials import Config as IalsConfig
from mmx.recommend.scoring import Factors
from tests.recommend.closed import normal, slow_ease, weights_of, zeros
from tests.recommend.toy import N_ITEMS, N_USERS, PAIRS
from tests.recommend.weighted import TRAIN, WORLD, X

BOTH = {"image": 0.5, "text": 0.5}


def best(w: np.ndarray, count: int) -> np.ndarray:
    """The largest entries of each row off the diagonal, where above 0; of equal ones the first."""
    w = w * (1 - np.eye(N_ITEMS)) * (w > 0)
    for row in w:
        row[np.argsort(-row, kind="stable")[count:]] = 0
    return w


def inverse(sums: np.ndarray, power: float) -> np.ndarray:
    return np.where(sums > 0, np.where(sums > 0, sums, 1) ** -power, 0)


def itemknn(neighbours: int, shrinkage: float, a: float, b: float, *, unit: bool) -> np.ndarray:
    x = X / np.linalg.norm(X, axis=1, keepdims=True) if unit else X
    gram = x.T @ x
    sizes = np.diag(gram)
    scale = np.outer(sizes**a, sizes**b) + shrinkage
    return X @ best(np.divide(gram, scale, out=np.zeros_like(gram), where=scale > 0), neighbours)


def rp3beta(alpha: float, beta: float, neighbours: int) -> np.ndarray:
    to_user = (X.T * inverse(X.sum(0), 1)[:, None]) ** alpha  # (items, users)
    to_item = (X / X.sum(1, keepdims=True)) ** alpha
    w = best(to_user @ to_item * inverse(X.sum(0), beta), neighbours)
    return X @ (w / np.maximum(w.sum(1, keepdims=True), 1e-300))


def graph_filter(rank: int, ideal: float) -> np.ndarray:
    back, roots = inverse(X.sum(0), 0.5), np.sqrt(X.sum(0))
    r = X * inverse(X.sum(1), 0.5)[:, None] * back
    v = np.linalg.svd(r)[2][:rank].T
    return X @ (r.T @ r + ideal * back[:, None] * (v @ v.T) * roots)


def ials(**settings: Any) -> np.ndarray:
    """The users' vectors by equation 4 and the items' by equation 5, from the run's own start."""
    config = IalsConfig(**settings)
    generator = torch.Generator().manual_seed(WORLD.seed)
    start = torch.randn((N_ITEMS, config.dim), generator=generator, dtype=torch.float64).numpy()
    items = start * 0.1 / config.dim**0.5
    for _ in range(config.sweeps):
        users = least_squares(X, items, config)
        items = least_squares(X.T, users, config)
    return users @ items.T


def least_squares(r: np.ndarray, others: np.ndarray, config: IalsConfig) -> np.ndarray:
    """With C and p written out, as the paper has them: c = 1 + αr, p = 1 where r > 0."""
    out = []
    for row in r:
        c = np.diag(1 + config.confidence * row)
        left = others.T @ c @ others + config.reg * np.eye(config.dim)
        out.append(np.linalg.solve(left, others.T @ c @ (row > 0)))
    return np.array(out)


def l3ae(reg: float, content_reg: float, guide: float) -> np.ndarray:
    gram, c = X.T @ X, slow_ease(normal(WORLD, BOTH), content_reg)
    b = np.zeros((N_ITEMS, N_ITEMS))
    for j in range(N_ITEMS):
        o = np.delete(np.arange(N_ITEMS), j)
        left = gram[np.ix_(o, o)] + (reg + guide) * np.eye(N_ITEMS - 1)
        b[o, j] = np.linalg.solve(left, gram[o, j] + guide * c[o, j])
    return X @ b


def ease_content(reg: float, content: float, share: float, content_reg: float) -> np.ndarray:
    contents = normal(WORLD, BOTH)
    both = slow_ease(X.T @ X + content * contents, reg)
    return X @ ((1 - share) * both + share * slow_ease(contents, content_reg))


KNN = {"neighbours": 3, "shrinkage": 2.0}
REFERENCES: list[tuple[str, dict[str, Any], Callable[[], np.ndarray]]] = [
    ("popularity", {}, lambda: np.tile(X.sum(0), (N_USERS, 1))),
    ("itemknn", KNN, lambda: itemknn(3, 2.0, 0.5, 0.5, unit=False)),
    ("itemknn", {**KNN, "from_power": 1.0, "to_power": 0.3, "unit_users": True},
     lambda: itemknn(3, 2.0, 1.0, 0.3, unit=True)),
    ("itemknn-cbf", {}, lambda: X @ weights_of("itemknn-cbf", WORLD)),
    ("ease", {"reg": 5.0}, lambda: X @ slow_ease(X.T @ X, 5.0)),
    ("ease-content", {"reg": 2.0, "content": 3.0, "share": 0.4, "content_reg": 0.7},
     lambda: ease_content(2.0, 3.0, 0.4, 0.7)),
    ("l3ae", {"reg": 2.0, "content_reg": 0.7, "guide": 3.0}, lambda: l3ae(2.0, 0.7, 3.0)),
    ("rp3beta", {"alpha": 0.7, "beta": 0.4, "neighbours": 4}, lambda: rp3beta(0.7, 0.4, 4)),
    ("graph-filter", {"rank": 2, "ideal": 0.5}, lambda: graph_filter(2, 0.5)),
    ("ials", {"dim": 3, "confidence": 2.0, "reg": 0.5, "sweeps": 3},
     lambda: ials(dim=3, confidence=2.0, reg=0.5, sweeps=3)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "settings", "slow"), REFERENCES, ids=[name for name, *_ in REFERENCES]
)
def test_a_closed_form_equals_its_reference(
    name: str, settings: dict[str, Any], slow: Callable[[], np.ndarray]
) -> None:
    module = find_model(name).load()
    scorer = module.fit(module.Config(**settings), WORLD)
    found = zeros(scorer.scores(np.arange(N_USERS)))
    np.testing.assert_allclose(found, slow(), rtol=2e-4, atol=1e-5)
    ones = replace(TRAIN, weights=np.ones(len(PAIRS)))
    plain, same = (
        module.fit(module.Config(**settings), replace(WORLD, train=train)).scores(np.arange(6))
        for train in (TRAIN.unweighted(), ones)
    )
    np.testing.assert_allclose(same, plain, rtol=1e-6)


def test_slim_is_at_its_minimum() -> None:
    scorer = MODELS["slim"].load()
    scorer = scorer.fit(scorer.Config(l1=0.7, l2=3.0), WORLD)
    w = weights_of("slim", WORLD, l1=0.7, l2=3.0).astype(np.float64)
    gram = X.T @ X
    slope = gram @ w + 3.0 * w - gram + 0.7  # of equation 3, off the diagonal
    off = ~np.eye(N_ITEMS, dtype=bool)
    assert (w > 0).sum() > 4
    np.testing.assert_allclose(slope[w > 0], 0, atol=1e-4)
    assert (slope[off & (w == 0)] > -1e-4).all()
    np.testing.assert_allclose(zeros(scorer.scores(np.arange(N_USERS))), X @ w, rtol=1e-4)


def test_every_closed_form_has_a_reference_here() -> None:
    """A new one that says ``weights`` needs one; until it says so it refuses them."""
    told = {name for name, record in MODELS.items() if record.weights}
    assert told == {name for name, _, _ in REFERENCES} | {"slim"}
    assert all(record.honours_weights for record in MODELS.values())
    assert not any(record.weights for record in MODELS.values() if not record.closed_form)


def test_a_user_of_ials_with_weights_is_solved_alone_as_among_all() -> None:
    config = IalsConfig(dim=3, confidence=2.0, reg=0.5, sweeps=1)
    scorer = MODELS["ials"].load().fit(config, WORLD)
    assert isinstance(scorer, Factors)
    alone = newcomers(scorer, TRAIN, TRAIN)
    expected = least_squares(np.where(X > 0, 1.0, 0.0), scorer.items.astype(float), config)
    with_weights = least_squares(X, scorer.items.astype(float), config)
    assert isinstance(alone, Factors)
    np.testing.assert_allclose(alone.users, with_weights, rtol=1e-5, atol=1e-6)
    plain = newcomers(scorer, TRAIN, TRAIN.unweighted())
    assert isinstance(plain, Factors)
    np.testing.assert_allclose(plain.users, expected, rtol=1e-5, atol=1e-6)


def test_the_map_to_new_users_does_not_depend_on_weights() -> None:
    rng = np.random.default_rng(0)
    scorer = Factors(*(rng.normal(size=(n, 3)).astype(np.float32) for n in (N_USERS, N_ITEMS)))
    found = [newcomers(scorer, t, TRAIN.rows(np.arange(2))) for t in (TRAIN, TRAIN.unweighted())]
    np.testing.assert_array_equal(*(one.users for one in found))  # type: ignore[attr-defined]
