"""Each closed form equals a slow float64 reference made of loops and plain definitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from mmx.errors import OptionError, RunError
from mmx.recommend import memory
from mmx.recommend.blocks import content_regression
from mmx.recommend.blocks.modalities import modality_weights
from mmx.recommend.features import Features
from mmx.recommend.interactions import UserItems
from mmx.recommend.models import MODELS, ease, ease_content
from mmx.recommend.models.itemknn import Config as KnnConfig
from tests.recommend.closed import (
    X,
    cosine,
    neighbours,
    normal,
    scores_of,
    slow_ease,
    summed,
    weights_of,
)
from tests.recommend.toy import ABSENT, N_ITEMS, TAKEN, toy_train, toy_world

CLOSED = sorted(name for name, record in MODELS.items() if record.closed_form)


def test_popularity_counts_users() -> None:
    found = scores_of("popularity", toy_world())
    for i in range(N_ITEMS):
        assert (found[:, i] == sum(i in items for items in TAKEN.values())).all()


NORMALISED: list[dict[str, Any]] = [
    {},
    {"unit_users": True},
    {"unit_sums": True},
    {"from_power": 1.0, "to_power": 0.0},
    {"from_power": 0.0, "to_power": 0.7, "unit_users": True, "unit_sums": True},
]


@pytest.mark.parametrize("count", [1, 2, 50])
@pytest.mark.parametrize("shrinkage", [0.0, 3.0])
@pytest.mark.parametrize("normalised", NORMALISED, ids=lambda given: ",".join(given) or "plain")
def test_itemknn(count: int, shrinkage: float, normalised: dict[str, Any]) -> None:
    def size(users: set[int]) -> float:
        each = [1 / len(TAKEN[u]) if normalised.get("unit_users") else 1.0 for u in users]
        return sum(each)

    def similar(j: int, i: int) -> float:
        users_j, users_i = ({u for u, items in TAKEN.items() if n in items} for n in (j, i))
        if not users_j or not users_i:
            return 0.0
        scale = size(users_j) ** normalised.get("from_power", 0.5)
        scale *= size(users_i) ** normalised.get("to_power", 0.5)
        return size(users_j & users_i) / (scale + shrinkage)

    expected = neighbours(similar, count)
    assert (expected > 0).sum() > N_ITEMS // 2
    if normalised.get("unit_sums"):
        expected = np.array([row / (row.sum() or 1) for row in expected])
    settings = {"neighbours": count, "shrinkage": shrinkage, **normalised}
    np.testing.assert_allclose(
        weights_of("itemknn", toy_world(), **settings), expected, rtol=1e-5, atol=1e-9
    )
    found = scores_of("itemknn", toy_world(), **settings)
    np.testing.assert_allclose(found, summed(expected), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("count", [1, 3, 50])
@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("", {"image": 1 / 3, "text": 1 / 3, "audio": 1 / 3}),
        ("image:1,audio:3", {"image": 0.25, "audio": 0.75}),
        ("text:2,image:0", {"text": 1.0}),
    ],
)
def test_itemknn_cbf(count: int, text: str, shares: dict[str, float]) -> None:
    def similar(j: int, i: int) -> float:
        both = [m for m in shares if not {j, i} & set(ABSENT[m])]
        total = sum(shares[m] * cosine(m, j, i) for m in both)
        return total / sum(shares[m] for m in both) if both else 0.0

    expected = neighbours(similar, count)
    world = toy_world("image", "text", "audio")
    found = weights_of("itemknn-cbf", world, neighbours=count, weights=text)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    if not text:
        assert found[8].any()  # nobody took item 8, yet it has a content
    scores = scores_of("itemknn-cbf", world, neighbours=count, weights=text)
    np.testing.assert_allclose(scores, summed(expected), rtol=1e-4, atol=1e-5)


def test_an_item_without_any_vector_has_no_neighbours() -> None:
    found = weights_of("itemknn-cbf", toy_world("image", "text"), neighbours=50)
    assert not found[3].any()
    assert not found[:, 3].any()


@pytest.mark.parametrize("reg", [0.5, 20.0])
def test_ease_is_a_ridge_regression_of_each_item_on_the_others(reg: float) -> None:
    expected = slow_ease(X.T @ X, reg)
    found = weights_of("ease", toy_world(), reg=reg)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(scores_of("ease", toy_world(), reg=reg), summed(expected),
                               rtol=1e-4, atol=1e-5)  # fmt: skip
    assert not found[8].any()
    assert not found[:, 8].any()  # nobody took item 8


def larger(users: int = 120, items: int = 60) -> UserItems:
    taken = np.random.default_rng(4).random((users, items)) < np.linspace(0.02, 0.4, items)
    return UserItems.from_pairs(*np.nonzero(taken), users, items)


def test_ease_satisfies_its_kkt_conditions() -> None:
    """Off the diagonal the gradient of the loss is zero, on it the constraint holds."""
    train, reg = larger(), 30.0
    b = ease.regress(ease.gram(train), reg).astype(np.float64)
    x = np.zeros((train.n_users, train.n_items))
    x[train.users, train.indices] = 1
    gradient = 2 * (-x.T @ (x - x @ b) + reg * b)
    off = ~np.eye(train.n_items, dtype=bool)
    assert np.abs(gradient[off]).max() < 1e-4 * np.abs(x.T @ x).max()
    assert np.abs(np.diag(gradient)).min() > 1e-2  # the multipliers of the constraint
    assert not np.diag(b).any()


def test_a_regularisation_that_float32_cannot_hold_is_refused() -> None:
    gram = np.full((4, 4), 1e6, dtype=np.float32)
    with pytest.raises(RunError, match="raise it"):
        ease.regress(gram, 1e-6)


def test_ease_says_when_memory_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_there", lambda: 64)
    with pytest.raises(RunError, match="--model itemknn"):
        ease.gram(toy_train())


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
@pytest.mark.parametrize(
    ("text", "shares"), [("", {"image": 0.5, "text": 0.5}), ("text:1", {"text": 1.0})]
)
def test_ease_with_item_embeddings(share: float, text: str, shares: dict[str, float]) -> None:
    world = toy_world("image", "text")
    contents = normal(world, shares)
    both = slow_ease(X.T @ X + 3.0 * contents, 2.0)
    expected = (1 - share) * both + share * slow_ease(contents, 0.7)
    settings = {"reg": 2.0, "content": 3.0, "content_reg": 0.7, "share": share, "weights": text}
    found = weights_of("ease-content", world, **settings)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    assert found[:, 8].any()  # nobody took item 8, its content speaks
    scores = scores_of("ease-content", world, **settings)
    np.testing.assert_allclose(scores, summed(expected), rtol=1e-3, atol=1e-4)


def test_the_content_regression_of_wide_vectors_inverts_the_smaller_matrix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    f = np.random.default_rng(0).normal(size=(20, 300))
    slow = np.linalg.inv(f.T @ f + 3.0 * np.eye(300)) @ f.T
    sizes, solve = [], np.linalg.solve
    monkeypatch.setattr(np.linalg, "solve", lambda a, b: sizes.append(len(a)) or solve(a, b))
    np.testing.assert_allclose(content_regression.ridge(f, 3.0), slow, rtol=1e-6, atol=1e-9)
    content_regression.ridge(f.T, 3.0)
    assert sizes == [20, 20]


def test_without_content_it_is_ease() -> None:
    plain = weights_of("ease", toy_world(), reg=5.0)
    found = weights_of("ease-content", toy_world("image"), reg=5.0, content=0.0, share=0.0)
    np.testing.assert_allclose(found, plain, rtol=1e-5, atol=1e-7)


@dataclass(frozen=True)
class Case:
    name: str
    modalities: tuple[str, ...]


CASES = [Case(n, () if MODELS[n].features == "none" else ("image", "text")) for n in CLOSED]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_small_blocks_change_nothing(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    from mmx.recommend.blocks import item_item

    whole = scores_of(case.name, toy_world(*case.modalities))
    monkeypatch.setattr(item_item, "BLOCK_BYTES", 16 * N_ITEMS * 2)
    found = scores_of(case.name, toy_world(*case.modalities))
    np.testing.assert_allclose(found, whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["ease", "ease-content"])
def test_keep_makes_the_weights_sparse(name: str) -> None:
    modalities = () if name == "ease" else ("image",)
    whole = weights_of(name, toy_world(*modalities), reg=1.0)
    found = weights_of(name, toy_world(*modalities), reg=1.0, keep=2)
    assert ((found != 0).sum(1) <= 2).all()
    for row in range(N_ITEMS):
        best = np.argsort(-np.abs(whole[row]), kind="stable")[:2]
        np.testing.assert_array_equal(found[row, best], whole[row, best])


@pytest.mark.parametrize(
    ("module", "bad"),
    [
        (ease.Config, {"reg": 0.0}),
        (ease.Config, {"keep": -1}),
        (ease_content.Config, {"share": 1.5}),
        (ease_content.Config, {"content_reg": 0.0}),
        (KnnConfig, {"neighbours": 0}),
        (KnnConfig, {"shrinkage": -1.0}),
        (KnnConfig, {"from_power": 1.5}),
        (KnnConfig, {"to_power": -0.5}),
    ],
)
def test_settings_are_checked(module: Any, bad: dict[str, float]) -> None:
    with pytest.raises(OptionError):
        module(**bad)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("imagge:1", "did you mean 'image'"),
        ("image", "MODALITY:NUMBER"),
        ("image:-1", "none negative"),
        ("image:nan", "none negative"),
        ("image:0", "more than 0"),
    ],
)
def test_modality_weights_are_checked(text: str, said: str) -> None:
    features = {"image": Features(np.ones((2, 3), np.float32), np.ones(2, bool))}
    with pytest.raises(OptionError, match=said):
        modality_weights(text, features)
