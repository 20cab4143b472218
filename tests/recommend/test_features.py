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
