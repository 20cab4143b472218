"""Features join by item id; stores that do not fit are refused."""

from pathlib import Path

import numpy as np
import pytest

from mmx.data.vocabulary import Vocabulary
from mmx.errors import OptionError, StoreError
from mmx.recommend.features import Features, FeatureSpec, load_features
from tests.cache.test_store import IMAGE, store


def test_specs_are_parsed(tmp_path: Path) -> None:
    assert FeatureSpec.parse("cache/clip.parquet") == FeatureSpec(Path("cache/clip.parquet"))
    chosen = FeatureSpec.parse("cache/clip.parquet:image, text")
    assert chosen == FeatureSpec(Path("cache/clip.parquet"), ("image", "text"))
    odd = tmp_path / "a:b.parquet"
    odd.touch()
    assert FeatureSpec.parse(str(odd)) == FeatureSpec(odd)


def test_vectors_join_by_id(tmp_path: Path) -> None:
    spec = FeatureSpec(store(tmp_path / "fake.parquet"))
    features, records = load_features([spec], Vocabulary(["x", "c", "b", "a"]))
    assert features["image"].present.tolist() == [False, True, False, True]
    np.testing.assert_array_equal(features["image"].matrix[3], np.float32(IMAGE[0]))
    assert [(r["modality"], r["items_with_vector"]) for r in records] == [("image", 2), ("text", 2)]


def test_clashes_and_strangers_are_refused(tmp_path: Path) -> None:
    one, two = store(tmp_path / "1.parquet"), store(tmp_path / "2.parquet")
    items = Vocabulary(["a", "b"])
    with pytest.raises(StoreError, match="both bring image"):
        load_features([FeatureSpec(one), FeatureSpec(two)], items)
    both, _ = load_features([FeatureSpec(one, ("image",)), FeatureSpec(two, ("text",))], items)
    assert list(both) == ["image", "text"]
    with pytest.raises(StoreError, match="of other items"):
        load_features([FeatureSpec(one)], Vocabulary(["z"]))
    with pytest.raises(OptionError, match="no modality 'imag'; did you mean 'image'"):
        load_features([FeatureSpec(one, ("imag",))], items)


def test_normalised_is_centred_and_of_length_one() -> None:
    matrix = np.array([[3, 0], [0, 0], [1, 2], [5, 4]], dtype=np.float32)
    present = np.array([True, False, True, True])
    known = Features(matrix, present).normalised()
    mean = matrix[present].mean(0)
    for row in np.flatnonzero(present):
        expected = (matrix[row] - mean) / np.linalg.norm(matrix[row] - mean)
        np.testing.assert_allclose(known.matrix[row], expected, rtol=1e-6)
    assert not known.matrix[1].any()
    lone = Features(matrix, np.array([True, False, False, False])).normalised()
    assert not lone.matrix.any()  # the only vector is the mean itself


def drawn(rows: int, *scales: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(rows, len(scales)))
    return (noise * scales).astype(np.float32)


def test_principal_axes_keep_the_distances_when_next_to_nothing_is_left_out() -> None:
    present = np.arange(12) != 4
    features = Features(drawn(12, 2, 3, 1, 1e-6, 4) * present[:, None], present)
    turned = features.principal(4)
    known = features.matrix[present] - features.matrix[present].mean(0)
    np.testing.assert_allclose(turned.matrix[present] @ turned.matrix[present].T, known @ known.T,
                               rtol=1e-4, atol=1e-4)  # fmt: skip
    assert not turned.matrix[4].any()


def test_principal_axes_leave_out_the_least_variance() -> None:
    features = Features(drawn(50, 0.1, 5, 1, 3, 0.01, 2), np.ones(50, dtype=bool))
    turned = features.principal(3).matrix
    values = np.linalg.svd(features.matrix - features.matrix.mean(0), compute_uv=False)
    np.testing.assert_allclose(np.linalg.norm(turned, axis=0), values[:3], rtol=1e-4)
    assert features.principal(6) is features.principal(0) is features
