"""iALS equals equations 4 and 5 with dense matrices in float64, and the library `implicit`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmx.errors import OptionError, RunError
from mmx.recommend import memory
from mmx.recommend.inductive import newcomers
from mmx.recommend.interactions import UserItems
from mmx.recommend.least_squares import LeastSquares
from mmx.recommend.models import ials
from mmx.recommend.protocol import World
from mmx.recommend.scoring import Factors
from mmx.recommend.serialize import pack, unpack
from tests.recommend import kit
from tests.recommend.closed import X
from tests.recommend.toy import N_ITEMS, N_USERS, TAKEN, toy_train, toy_world

START = np.random.default_rng(5).random((N_ITEMS, 3)) * 0.1


# Scores on the toy world by implicit 0.7.3, of users 0 to 5: AlternatingLeastSquares(factors=3,
# regularization=10, alpha=41, iterations=15, use_cg=False, dtype=float64), item_factors = START
IMPLICIT = [
    [0.927082, 0.882689, 0.882689, 0.641442, -0.093187, 0.148342, 0.148342, -0.093187, 0],
    [0.728294, 0.896211, 0.896211, 0.872319, 0.056731, 0.41763, 0.41763, 0.056731, 0],
    [0.775133, 0.557491, 0.557491, 0.25898, -0.065988, -0.040987, -0.040987, -0.065988, 0],
    [-0.091104, 0.094545, 0.094545, 0.584642, 0.927479, 0.902257, 0.902257, 0.927479, 0],
    [0.109707, 0.448939, 0.448939, 0.876217, 0.649364, 0.884018, 0.884018, 0.649364, 0],
    [-0.094985, -0.086167, -0.086167, 0.274032, 0.848885, 0.666614, 0.666614, 0.848885, 0],
]


def solved(pairs: np.ndarray, others: np.ndarray, config: ials.Config) -> np.ndarray:
    """(n, m) pairs and the (m, k) vectors of the other side → (n, k), with C^u written out."""
    k = others.shape[1]
    out = np.zeros((len(pairs), k))
    for row, preference in enumerate(pairs):
        left, right = config.reg * np.eye(k), np.zeros(k)
        for other, p in enumerate(preference):
            c = 1 + config.confidence * p
            left += c * np.outer(others[other], others[other])
            right += c * p * others[other]
        out[row] = np.linalg.solve(left, right)
    return out


def slow(config: ials.Config) -> tuple[np.ndarray, np.ndarray]:
    items = START
    for _ in range(config.sweeps):
        users = solved(X, items, config)
        items = solved(X.T, users, config)
    return users, items


@pytest.mark.parametrize(
    "settings",
    [
        {"confidence": 40.0, "reg": 10.0, "sweeps": 1},
        {"confidence": 40.0, "reg": 0.01, "sweeps": 4},
        {"confidence": 0.5, "reg": 0.3, "sweeps": 20},
    ],
)
def test_ials(settings: dict[str, Any]) -> None:
    config = ials.Config(dim=3, **settings)
    found = ials.swept(config, toy_train(), torch.from_numpy(START))
    for mine, expected in zip(found, slow(config), strict=True):
        np.testing.assert_allclose(mine.numpy(), expected, rtol=1e-7, atol=1e-9)


def test_it_equals_implicit() -> None:
    config = ials.Config(dim=3, confidence=40.0, reg=10.0, sweeps=15)
    users, items = ials.swept(config, toy_train(), torch.from_numpy(START))
    np.testing.assert_allclose((users @ items.T).numpy(), IMPLICIT, atol=2e-6)


def loss(config: ials.Config, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """Equation 3."""
    p = torch.from_numpy(X)
    errors = (1 + config.confidence * p) * (p - users @ items.T) ** 2
    return errors.sum() + config.reg * (users.square().sum() + items.square().sum())


def test_each_sweep_lowers_the_loss_and_the_last_ends_in_a_minimum() -> None:
    values = []
    for sweeps in (1, 2, 5, 400):
        config = ials.Config(dim=2, reg=2.0, confidence=5.0, sweeps=sweeps)
        users, items = ials.swept(config, toy_train(), torch.from_numpy(START[:, :2].copy()))
        values.append(float(loss(config, users, items)))
    assert values == sorted(values, reverse=True)
    leaves = users.requires_grad_(), items.requires_grad_()
    for gradient in torch.autograd.grad(loss(config, *leaves), leaves):
        assert gradient.abs().max() < 1e-6


@pytest.mark.parametrize("numbers", [1, 9, 40])
def test_small_blocks_change_nothing(numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    config = ials.Config(dim=3, sweeps=2)
    rng = np.random.default_rng(2)
    train = UserItems.from_pairs(*np.nonzero(rng.random((40, 30)) < 0.3), 40, 30)
    start = torch.from_numpy(rng.random((30, 3)))
    whole = ials.swept(config, train, start)
    monkeypatch.setattr(ials, "BLOCK_NUMBERS", numbers)
    for left, right in zip(ials.swept(config, train, start), whole, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-12)


def test_every_row_with_pairs_is_in_one_block() -> None:
    counts = np.random.default_rng(0).integers(0, 3000, 500)
    blocks = list(ials._blocks(counts, 256))
    assert sorted(np.concatenate(blocks)) == np.flatnonzero(counts).tolist()
    assert max(len(block) for block in blocks) == 16
    assert all(counts[block].max() <= 2 * counts[block].min() + 8 for block in blocks)


def test_nothing_is_known_of_what_has_no_pairs() -> None:
    scores = ials.fit(ials.Config(dim=3), toy_world()).scores(np.arange(N_USERS))
    assert np.isneginf(scores[:, 8]).all()
    assert np.isfinite(np.delete(scores, 8, axis=1)).all()
    empty = UserItems.from_pairs(np.array([1]), np.array([0]), 3, 2)
    found = ials.fit(ials.Config(dim=3), World(empty)).scores(np.arange(3))
    assert np.isfinite(found).tolist() == [[False, False], [True, False], [False, False]]


def test_taken_items_score_near_one() -> None:
    scores = ials.fit(ials.Config(dim=6, reg=0.01), toy_world()).scores(np.arange(N_USERS))
    for user, items in TAKEN.items():
        np.testing.assert_allclose(scores[user, items], 1, atol=0.05)


def test_a_list_of_items_is_solved_by_equation_4() -> None:
    config, train = ials.Config(dim=3, reg=2.0, sweeps=3), toy_train()
    known = ials.fit(config, toy_world())
    users = ials._solved(config, train, torch.from_numpy(known.items).double())  # a half-step more
    assert not np.allclose(known.users, users, atol=1e-5)
    found = newcomers(known, train, train)
    assert isinstance(found, Factors)
    np.testing.assert_allclose(found.users, users, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.users, solved(X, known.items, config), rtol=1e-5, atol=1e-5)
    nothing = UserItems.from_pairs(np.array([1, 1]), np.array([8, 2]), 3, N_ITEMS)
    some = newcomers(known, train, nothing).scores(np.arange(3))
    assert np.isneginf(some).all(1).tolist() == [True, False, True]


def test_a_run_keeps_the_equation(tmp_path: Path) -> None:
    place = kit.write_place(tmp_path)
    run = kit.trained(place, "ials", tmp_path / "run", settings=["dim=4", "confidence=7"], seed=5)
    assert run.config["training"] == {"seed": 5}
    assert isinstance(run.scorer, Factors)
    assert run.scorer.solve == LeastSquares(7.0, 100.0)
    again = unpack(*pack(run.scorer), run.data.train)
    assert isinstance(again, Factors)
    assert again.solve == run.scorer.solve
    with pytest.raises(ValueError, match="least squares with -1, a number above 0 is expected"):
        LeastSquares(-1, 2.0)


def test_the_runs_seed_draws_the_start() -> None:
    config = ials.Config(dim=2, sweeps=1)
    one, same, other = (ials.fit(config, World(toy_train(), seed=s)).items for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)


def test_it_says_when_memory_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_there", lambda: 64)
    with pytest.raises(RunError, match=r"--set dim=64 of 15 users and items .*lower it"):
        ials.fit(ials.Config(), toy_world())


@pytest.mark.parametrize("bad", [{"dim": 0}, {"confidence": 0.0}, {"reg": 0.0}, {"sweeps": 0}])
def test_settings_are_checked(bad: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        ials.Config(**bad)
