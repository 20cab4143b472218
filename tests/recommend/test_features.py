"""Features join by item id; stores that do not fit are refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmx.data.vocabulary import Vocabulary
from mmx.errors import OptionError, StoreError
from mmx.recommend.features import Features, FeatureSpec, load_features
from tests.cache.small_store import IMAGE, store
from tests.cache.stores import CARD, make_store


def test_specs_are_parsed(tmp_path: Path) -> None:
    assert FeatureSpec.parse("cache/clip.parquet") == FeatureSpec(Path("cache/clip.parquet"))
    chosen = FeatureSpec.parse("cache/clip.parquet:image, text")
    assert chosen == FeatureSpec(Path("cache/clip.parquet"), ("image", "text"))
    for place in ("s3://bucket/clip.parquet", "a:b/clip.parquet"):
        assert FeatureSpec.parse(place).modalities == ()
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
    with pytest.raises(StoreError, match="made from other items"):
        load_features([FeatureSpec(one)], Vocabulary(["z"]))
    with pytest.raises(OptionError, match="no modality 'imag'; did you mean 'image'"):
        load_features([FeatureSpec(one, ("imag",))], items)


def test_a_modality_without_any_vector_is_not_a_store_of_other_items(tmp_path: Path) -> None:
    """A catalogue of texts, encoded by what takes pictures too."""
    items = Vocabulary(["a", "b"])
    texts = FeatureSpec(store(tmp_path / "t.parquet", image=[None] * 3))
    with pytest.raises(StoreError, match=r"no image vector .*: --features \S*t.parquet:text$"):
        load_features([texts], items)
    assert list(load_features([replace(texts, modalities=("text",))], items)[0]) == ["text"]
    nothing = FeatureSpec(store(tmp_path / "n.parquet", image=[None] * 3, text=[None] * 3))
    with pytest.raises(StoreError, match=r"no vector for any item .* `mmx info \S*n.parquet`"):
        load_features([nothing], items)


@pytest.mark.parametrize(
    ("vector", "said"),
    [
        ([1.0, float("nan"), 2.0], "is not finite"),
        ([float("-inf"), 1.0, 2.0], "is not finite"),
        ([2.6e38, 1.0, 2.0], r"has norm 2.6e\+38, the median is 3.74"),
        ([0.0, 1e20, 0.0], r"has norm 1e\+20, the median is 3.74"),
        ([8e9, 1.0, 2.0], r"has norm 8e\+09, the median is 3.74"),
    ],
)
def test_what_cannot_be_a_vector_is_refused(tmp_path: Path, vector: list, said: str) -> None:
    image = [[1.0, 2.0, 3.0]] * 2
    spec = FeatureSpec(store(tmp_path / "a.parquet", image=[*image, vector]))
    with pytest.raises(StoreError, match=rf"a.parquet: the image vector of item c {said}; look"):
        load_features([spec], Vocabulary(["a", "c", "b"]))
    assert load_features([spec], Vocabulary(["a", "b"]))  # it is not of this dataset


def test_zeros_are_no_usual_length(tmp_path: Path) -> None:
    """Where most vectors are zero, one is still compared with the others."""
    image = [[0.0] * 3] * 5 + [[1.0, 2.0, 3.0]] * 2 + [[8e9, 1.0, 2.0]]
    path = make_store(tmp_path / "a", 8, image=image, image_status=["ok"] * 8).path
    with pytest.raises(StoreError, match=r"item i7 has norm 8e\+09, the median is 3.74"):
        load_features([FeatureSpec(path, ("image",))], Vocabulary([f"i{n}" for n in range(8)]))


def test_the_encoder_card_says_of_what_length_vectors_are(tmp_path: Path) -> None:
    card = replace(CARD, normalised=True)
    good = {"image": [[0.6, 0.8, 0]] * 3, "text": [[1.0, 0.001]] * 3}
    items = Vocabulary(["i0", "i1", "i2"])
    load_features([FeatureSpec(make_store(tmp_path / "a", 3, card=card, **good).path)], items)
    for bad in ([0.6, 1.6, 0], [0, 0, 0]):
        image = [[0.6, 0.8, 0], bad, bad]
        spec = FeatureSpec(make_store(tmp_path / "b", 3, card=card, **good | {"image": image}).path)
        with pytest.raises(StoreError, match=r"item i1 has norm .* card says 1 \(and 1 more\)"):
            load_features([spec], items)


@pytest.mark.parametrize("scale", [1e-12, 1e-2, 1, 1e4, 1e12])
def test_vectors_of_any_unit_are_taken(tmp_path: Path, scale: float) -> None:
    """Lengths from a thousandth to a thousandfold of the usual one, and zeros."""
    lengths = 10 ** np.linspace(-3, 3, 40)
    image = (drawn(40, 1, 1, 1) * lengths[:, None] * scale).astype(np.float32)
    image[::9] = 0
    path = make_store(tmp_path / "a", 40, image=list(image)).path
    found = load_features([FeatureSpec(path, ("image",))], Vocabulary([f"i{n}" for n in range(40)]))
    np.testing.assert_array_equal(found[0]["image"].matrix, image)


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


@pytest.mark.parametrize("value", [0.1, 1 / 3, 12345.678])
def test_equal_vectors_are_all_at_the_mean(value: float) -> None:
    """A float32 sum of them is not, and what it is off by would be scaled to length 1."""
    same = np.full((1001, 3), value, dtype=np.float32)
    assert not Features(same, np.arange(1001) != 7).normalised().matrix.any()


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
