"""Principal axes equal those of a float64 SVD, by whichever Gram matrix is smaller."""

from __future__ import annotations

import numpy as np
import pytest

from mmx.recommend import principal
from mmx.recommend.features import Features


def vectors(n: int, d: int, seed: int = 0) -> np.ndarray:
    """With axes of different spread, far from the origin."""
    rng = np.random.default_rng(seed)
    spread = np.geomspace(3, 0.1, min(n, d))
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0][: len(spread)]
    return ((rng.normal(size=(n, len(spread))) * spread) @ turn + 5).astype(np.float32)


def by_svd(matrix: np.ndarray, count: int) -> np.ndarray:
    """The slow way: (n, count), each column's largest coordinate positive."""
    wide = matrix.astype(np.float64)
    left, values, _ = np.linalg.svd(wide - wide.mean(0), full_matrices=False)
    turned = (left * values)[:, :count]
    return turned * [np.sign(column[np.abs(column).argmax()]) for column in turned.T]


def of(matrix: np.ndarray) -> Features:
    return Features(matrix, np.ones(len(matrix), dtype=bool))


@pytest.mark.parametrize(("n", "d"), [(200, 30), (31, 30), (30, 30), (29, 30), (30, 300)])
@pytest.mark.parametrize("exact", [True, False])
def test_they_equal_those_of_an_svd(
    monkeypatch: pytest.MonkeyPatch, n: int, d: int, exact: bool
) -> None:
    monkeypatch.setattr(principal, "BLOCK_BYTES", 8 * 50 * 7)  # several blocks
    monkeypatch.setattr(principal, "EXACT", 2048 if exact else 0)
    matrix = vectors(n, d)
    tolerance = 1e-6 if exact or n < d else 1e-3
    np.testing.assert_allclose(
        of(matrix).principal(8).matrix, by_svd(matrix, 8), rtol=tolerance, atol=tolerance * 10
    )


def test_few_vectors_of_many_dimensions_take_no_time() -> None:
    """By XᵀX these would take hours and 3 GB."""
    matrix = np.random.default_rng(0).normal(size=(40, 20_000)).astype(np.float32)
    turned = of(matrix).principal(1024)
    assert turned.matrix.shape == (40, 1024)
    middle = matrix - matrix.mean(0)
    np.testing.assert_allclose(turned.matrix @ turned.matrix.T, middle @ middle.T, rtol=1e-3,
                               atol=0.5)  # fmt: skip


@pytest.mark.parametrize(("n", "d"), [(5, 30), (60, 30)])
def test_columns_beyond_the_rank_are_zero(n: int, d: int) -> None:
    """Four axes only; rounding to float32 makes no fifth."""
    rng = np.random.default_rng(1)
    matrix = (rng.normal(size=(n, 4)) @ rng.normal(size=(4, d)) + 100).astype(np.float32)
    turned = of(matrix).principal(20).matrix
    assert turned.shape == (n, 20)
    assert turned[:, :4].any(0).all()
    assert not turned[:, 4:].any()


def test_equal_vectors_one_vector_and_none_are_zero() -> None:
    same = np.full((7, 30), 0.1, dtype=np.float32)
    for n in (7, 1):
        assert not of(same[:n]).principal(3).matrix.any()
    assert not of(np.repeat(same, 10, axis=0)).principal(3).matrix.any()
    nobody = Features(np.zeros((4, 30), np.float32), np.zeros(4, dtype=bool))
    assert nobody.principal(3).matrix.shape == (4, 3)


def test_the_sign_is_that_of_the_largest_coordinate() -> None:
    for n, d in ((200, 30), (20, 60)):
        turned = of(vectors(n, d)).principal(6).matrix
        assert (turned[np.abs(turned).argmax(0), np.arange(6)] > 0).all()
        mirrored = of(-vectors(n, d)).principal(6).matrix
        np.testing.assert_allclose(np.abs(mirrored), np.abs(turned), atol=1e-5)


def test_huge_and_tiny_vectors_keep_their_scale() -> None:
    for scale in (1e-12, 1e18):
        matrix = vectors(50, 20)
        turned = of((matrix * np.float32(scale)).astype(np.float32)).principal(5).matrix
        np.testing.assert_allclose(turned / scale, by_svd(matrix, 5), rtol=1e-4, atol=1e-4)
