"""A store's vectors in two dimensions."""

from __future__ import annotations

import numpy as np
import pytest

from mmx.errors import OptionError
from mmx.search.plane import _axes, _in_the_square, map_of, plane
from tests.cache.stores import make_store


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_the_two_principal_axes() -> None:
    rng = np.random.default_rng(3)
    rows = unit(rng.normal(size=(60, 12)) * np.geomspace(4, 0.1, 12) + 1)
    centred = rows - rows.mean(0)
    u, s, _ = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    found = plane(rows)
    for axis in (0, 1):
        wanted = u[:, axis] * s[axis]
        assert abs(np.corrcoef(found[:, axis], wanted)[0, 1]) > 0.9999
    assert found.min() == 0 or found.max() == pytest.approx(1, abs=1e-6)
    assert np.array_equal(found, plane(rows))


@pytest.mark.parametrize(
    "rows", [np.zeros((0, 3)), np.ones((1, 3)), np.ones((5, 3)), np.eye(2), np.ones((4, 1))]
)
def test_few_or_equal_vectors(rows: np.ndarray) -> None:
    found = plane(rows.astype(np.float32))
    assert found.shape == (len(rows), 2)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert ((found >= -1e-6) & (found <= 1 + 1e-6)).all()


def test_of_a_store(tmp_path) -> None:
    store = make_store(tmp_path / "s.parquet", 40, max_file_rows=16)
    whole = map_of(store, "image")
    missing = {f"i{n}" for n in range(40) if n % 7 == 1}
    assert set(whole.ids.to_pylist()) == {f"i{n}" for n in range(40)} - missing
    assert whole.total == len(whole.ids) == len(whole.points)
    part = map_of(store, "image", most=10, seed=1)
    assert len(part.ids) == 10
    assert part.total == whole.total
    assert part.ids.to_pylist() == [i for i in whole.ids.to_pylist() if i in part.ids.to_pylist()]
    assert part.ids.to_pylist() == map_of(store, "image", most=10, seed=1).ids.to_pylist()
    assert part.ids.to_pylist() != map_of(store, "image", most=10, seed=2).ids.to_pylist()
    with pytest.raises(OptionError, match="--modality"):
        map_of(store, "audio")


def test_zero_vectors_are_left_out(tmp_path) -> None:
    rows = [[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [float("nan"), 0, 0]]
    store = make_store(
        tmp_path / "s.parquet", 4, image=rows, image_status=["ok"] * 4
    )  # fmt: skip
    assert map_of(store, "image").ids.to_pylist() == ["i1", "i2"]


def test_the_longer_side_fills_the_square_and_the_other_is_in_its_middle() -> None:
    points = np.array([[1, 3], [5, 4], [3, 3.5]], np.float32)
    expected = [[0, 0.375], [1, 0.625], [0.5, 0.5]]
    np.testing.assert_allclose(_in_the_square(points), expected)
    np.testing.assert_allclose(_in_the_square(points[:, ::-1]), np.array(expected)[:, ::-1])
    np.testing.assert_array_equal(_in_the_square(points[:1]), [[0.5, 0.5]])


def test_axes_are_of_length_1_and_have_one_sign() -> None:
    rng = np.random.default_rng(7)
    for d in (1, 2, 3, 40):
        rows = (rng.normal(size=(50, d)) * np.geomspace(5, 1, d)).astype(np.float32)
        for sign in (1, -1):
            axes = _axes(sign * (rows - rows.mean(0)), seed=0)
            assert axes.shape == (d, 2)
            expected = np.diag([1, 1 if d > 1 else 0])
            np.testing.assert_allclose(axes.T @ axes, expected, atol=1e-5)
            largest = axes[np.abs(axes).argmax(0), [0, 1]]
            assert (largest >= 0).all()


def test_lengths_do_not_count_and_all_may_be_shown(tmp_path) -> None:
    rng = np.random.default_rng(8)
    rows = rng.normal(size=(12, 3)).astype(np.float32)
    longer = rows * rng.uniform(0.1, 10, (12, 1)).astype(np.float32)
    ok = {"image_status": ["ok"] * 12}
    one, other = (map_of(make_store(tmp_path / f"{n}.parquet", 12, image=v.tolist(), **ok), "image",
                         most=12) for n, v in enumerate((rows, longer)))  # fmt: skip
    np.testing.assert_allclose(one.points, other.points, atol=1e-4)
    assert one.ids.to_pylist() == [f"i{n}" for n in range(12)]
    assert (one.total, one.points.max()) == (12, pytest.approx(1))
