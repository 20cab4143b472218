"""Features under a control: what stays of them, what goes, and that runs keep to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmx.errors import MmxError, OptionError
from mmx.mapped import Space, is_mapped
from mmx.recommend.controls import Control, changed, controlled
from mmx.recommend.features import Features

ITEMS, LACK_TEXT, LACK_IMAGE, LACK_BOTH = 400, 60, 40, 20
Vectors = dict[str, Features]
Change = Callable[[Vectors, Control, int], Vectors]


def drawn(items: int, d: int, *, unit: bool, seed: int = 0, space: Space | None = None) -> Features:
    """Clustered vectors off the origin, whose axes have very different variances."""
    rng = np.random.default_rng(seed)
    middles = rng.normal(size=(8, d))[rng.integers(0, 8, items)]
    vectors = (middles + 0.5 * rng.normal(size=(items, d))) * np.geomspace(2, 0.2, d) + 1
    if unit:
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    space = space or Space()
    matrix = space.zeros(items, d)
    matrix[:] = vectors
    return Features(matrix, np.ones(items, bool), space)


def lacking(found: Features, rows: slice) -> Features:
    matrix, present = found.matrix.copy(), found.present.copy()
    matrix[rows], present[rows] = 0, False
    return replace(found, matrix=matrix, present=present)


@pytest.fixture(scope="module")
def given() -> Vectors:
    """Every kind of gap: the last items have no text, those before no image, some neither."""
    image, text = drawn(ITEMS, 6, unit=True), drawn(ITEMS, 4, unit=False, seed=1)
    both, some = ITEMS - LACK_BOTH, ITEMS - LACK_BOTH - LACK_TEXT
    image = lacking(lacking(image, slice(both, None)), slice(some - LACK_IMAGE, some))
    return {"image": image, "text": lacking(text, slice(some, None))}


def the_same_vectors_elsewhere(before: Vectors, after: Vectors) -> None:
    """Multisets of vectors and statuses, image and text together, and none in its place."""
    assert before.keys() == after.keys()
    for name, old in before.items():
        np.testing.assert_array_equal(old.present, after[name].present)
        assert not after[name].matrix[~old.present].any()
    rows = {kind: np.concatenate([f.matrix for f in kind_of.values()], 1)
            for kind, kind_of in (("old", before), ("new", after))}  # fmt: skip
    have = before["image"].present | before["text"].present
    for matrix in rows.values():
        assert len(np.unique(matrix[have], axis=0)) == have.sum()
    old, new = (matrix[np.lexsort(matrix.T)] for matrix in rows.values())
    np.testing.assert_array_equal(old, new)
    assert (rows["old"] != rows["new"]).any(1)[have].all()


def with_replacement(before: Vectors, control: Control, seed: int) -> Vectors:
    source = np.random.default_rng(seed).integers(0, 300, ITEMS)
    return {n: replace(f, matrix=f.matrix[source] * f.present[:, None]) for n, f in before.items()}


def each_by_itself(before: Vectors, control: Control, seed: int) -> Vectors:
    """Image and text of an item go to different ones."""
    return {n: controlled({n: f}, control, seed + p)[n] for p, (n, f) in enumerate(before.items())}


def presence_too(before: Vectors, control: Control, seed: int) -> Vectors:
    order = np.random.default_rng(seed).permutation(ITEMS)
    return {n: replace(f, matrix=f.matrix[order], present=f.present[order])
            for n, f in before.items()}  # fmt: skip


def nothing(before: Vectors, control: Control, seed: int) -> Vectors:
    return dict(before)


def test_shuffled_vectors_are_the_same_ones(given: Vectors) -> None:
    copy = {name: found.matrix.copy() for name, found in given.items()}
    the_same_vectors_elsewhere(given, controlled(given, Control("shuffle"), 3))
    for name, found in given.items():
        np.testing.assert_array_equal(found.matrix, copy[name])


@pytest.mark.parametrize("wrong", [with_replacement, each_by_itself, presence_too, nothing])
def test_another_shuffle_is_noticed(given: Vectors, wrong: Change) -> None:
    with pytest.raises(AssertionError):
        the_same_vectors_elsewhere(given, wrong(given, Control("shuffle"), 3))


def test_a_shuffle_is_of_any_order() -> None:
    """Each item's vector comes from each other item about as often."""
    one = {"image": Features(np.arange(1, 6, dtype=np.float32)[:, None], np.ones(5, bool))}
    counts = np.zeros((5, 5))
    for seed in range(400):
        source = controlled(one, Control("shuffle"), seed)["image"].matrix[:, 0].astype(int) - 1
        counts[np.arange(5), source] += 1
    assert not counts.diagonal().any()
    assert (abs(counts[~np.eye(5, dtype=bool)] - 100) < 45).all()  # deviation √75


def alike(before: Features, after: Features) -> None:
    """Mean and covariance within what drawing as many would be off by, norms exactly."""
    np.testing.assert_array_equal(before.present, after.present)
    assert not after.matrix[~before.present].any()
    old, new = (f.matrix[f.present].astype(np.float64) for f in (before, after))
    norms = [np.sort(np.linalg.norm(each, axis=1)) for each in (old, new)]
    np.testing.assert_allclose(norms[1], norms[0], rtol=1e-4)
    n, cov = len(old), np.cov(old.T)
    error = np.sqrt(np.diag(cov) / n)
    assert (abs(new.mean(0) - old.mean(0)) < 4 * error).all()
    sampling = np.sqrt((cov**2 + np.outer(np.diag(cov), np.diag(cov))) / n)
    assert (abs(np.cov(new.T) - cov) < 4 * sampling).all()
    own = ((new - old.mean(0)) * (old - old.mean(0))).sum(1)  # of an item with its own vector
    assert abs(own.mean()) < 4 * own.std() / np.sqrt(n)


def isotropic(before: Vectors, control: Control, seed: int) -> Vectors:
    rng = np.random.default_rng(seed)
    found = {}
    for name, f in before.items():
        z = rng.normal(size=f.matrix.shape)
        z *= (np.linalg.norm(f.matrix, axis=1) / np.linalg.norm(z, axis=1))[:, None]
        found[name] = replace(f, matrix=z.astype(np.float32))
    return found


def norms_left(before: Vectors, control: Control, seed: int) -> Vectors:
    """Gaussian as it is drawn."""
    rng, found = np.random.default_rng(seed), {}
    for name, f in before.items():
        known = f.matrix[f.present]
        matrix = np.zeros_like(f.matrix)
        matrix[f.present] = rng.multivariate_normal(known.mean(0), np.cov(known.T), len(known))
        found[name] = replace(f, matrix=matrix)
    return found


def norms_alone(before: Vectors, control: Control, seed: int) -> Vectors:
    """Scaled once at the end: mean and covariance move."""
    found = norms_left(before, control, seed)
    for name, f in found.items():
        old, new = (np.linalg.norm(x.matrix, axis=1, keepdims=True) for x in (before[name], f))
        found[name] = replace(f, matrix=f.matrix * old / np.maximum(new, 1e-9))
    return found


@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize(("items", "d"), [(3000, 3), (3000, 8), (90, 200)])
def test_noise_is_like_the_vectors(items: int, d: int, unit: bool) -> None:
    before = lacking(drawn(items, d, unit=unit), slice(0, 5))
    after = controlled({"image": before}, Control("noise"), 0)["image"]
    if items > d:
        alike(before, after)
        return
    norms = [np.sort(f.norms()[5:]) for f in (before, after)]
    np.testing.assert_allclose(norms[1], norms[0], rtol=1e-5)
    spread = [np.trace(np.cov(f.matrix[5:].T)) for f in (before, after)]
    assert spread[1] == pytest.approx(spread[0], rel=0.1)


@pytest.mark.parametrize("wrong", [isotropic, norms_left, norms_alone, nothing])
def test_other_noise_is_noticed(wrong: Change) -> None:
    before = {"image": drawn(3000, 3, unit=True)}
    with pytest.raises(AssertionError):
        alike(before["image"], wrong(before, Control("noise"), 0)["image"])


def test_noise_of_two_modalities_is_not_the_same() -> None:
    one = drawn(200, 5, unit=False)
    found = controlled({"image": one, "text": one}, Control("noise"), 0)
    assert not np.array_equal(found["image"].matrix, found["text"].matrix)
    alone = controlled({"text": one}, Control("noise"), 0)
    np.testing.assert_array_equal(alone["text"].matrix, found["text"].matrix)


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_noise_of_vectors_of_any_unit(scale: float) -> None:
    """One axis without any variance, one that is always zero."""
    one = drawn(300, 5, unit=False)
    one.matrix[:, 1], one.matrix[:, 2] = 0, 3
    after = controlled({"a": replace(one, matrix=one.matrix * np.float32(scale))},
                       Control("noise"), 0)["a"].matrix.astype(np.float64) / scale  # fmt: skip
    assert np.abs(after[:, 1]).max() < 1e-3
    assert after[:, 2].std() < 0.1
    assert np.cov(after.T)[0, 0] == pytest.approx(np.cov(one.matrix.T)[0, 0], rel=0.05)


def test_constant_is_the_mean(given: Vectors) -> None:
    for name, found in controlled(given, Control("constant"), 0).items():
        np.testing.assert_array_equal(found.present, given[name].present)
        assert (found.matrix[found.present] == given[name].mean).all()
        assert not found.matrix[~found.present].any()
        assert not found.normalised().matrix.any()  # nothing is left of it


def that_share(before: Vectors, after: Vectors, share: float) -> None:
    """Of the items that have something, so many have nothing; the others what they had."""
    have, left = (np.any([f.present for f in v.values()], axis=0) for v in (before, after))
    assert (have & ~left).sum() == round(share * have.sum())
    assert not (left & ~have).any()
    for name, old in before.items():
        np.testing.assert_array_equal(after[name].present, old.present & left)
        np.testing.assert_array_equal(after[name].matrix, old.matrix * left[:, None])


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_drop_masks_that_share(given: Vectors, share: float) -> None:
    that_share(given, controlled(given, Control("drop", share), 5), share)


@pytest.mark.parametrize("wrong", [each_by_itself, nothing])
def test_another_drop_is_noticed(given: Vectors, wrong: Change) -> None:
    with pytest.raises(AssertionError):
        that_share(given, wrong(given, Control("drop", 0.3), 5), 0.3)
    with pytest.raises(AssertionError):
        that_share(given, controlled(given, Control("drop", 0.4), 5), 0.3)


def test_a_larger_drop_has_the_smaller_one_in_it(given: Vectors) -> None:
    small, large = (controlled(given, Control("drop", s), 5)["image"].present for s in (0.3, 0.6))
    assert not (large & ~small).any()


@pytest.mark.parametrize("text", ["shuffle", "noise", "constant", "drop:0.3"])
def test_the_seed_decides(given: Vectors, text: str) -> None:
    control = Control.parse(text)
    one, again, other = (controlled(given, control, seed) for seed in (1, 1, 2))
    turned = controlled(dict(reversed(given.items())), control, 1)
    for name in given:
        np.testing.assert_array_equal(one[name].matrix, again[name].matrix)
        np.testing.assert_array_equal(one[name].matrix, turned[name].matrix)
        assert np.array_equal(one[name].matrix, other[name].matrix) != control.drawn
    controlled(given, control, 2**63 - 1)


@pytest.mark.parametrize("text", ["shuffle", "noise", "constant", "drop:0.3"])
def test_mapped_vectors_give_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    here, there = (
        {"image": drawn(300, 7, unit=True, space=space)} for space in (Space(), Space(tmp_path))
    )
    one = controlled(here, Control.parse(text), 1)["image"]
    monkeypatch.setattr("mmx.mapped.BLOCK_BYTES", 7 * 4 * 64)  # five blocks
    other = controlled(there, Control.parse(text), 1)["image"]
    assert is_mapped(other.matrix)
    np.testing.assert_allclose(other.matrix, one.matrix, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(other.present, one.present)
    assert changed(there, {"image": other}) == changed(here, {"image": one})
    assert not list(tmp_path.iterdir())


def test_how_many_are_changed(given: Vectors) -> None:
    assert changed(given, dict(given)) == 0
    assert changed(given, controlled(given, Control("shuffle"), 0)) == ITEMS - LACK_BOTH
    dropped = controlled(given, Control("drop", 0.5), 0)
    assert changed(given, dropped) == (ITEMS - LACK_BOTH) / 2
    zeros = {"image": Features(np.zeros((4, 2), np.float32), np.ones(4, bool))}  # but present
    assert changed(zeros, controlled(zeros, Control("drop", 0.5), 0)) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("shufle", "--control shufle is unknown; did you mean 'shuffle'?"),
        ("", "--control '' is unknown; known: shuffle, noise, constant, drop"),
        ("drop", "--control drop: a share is expected, as drop:0.3"),
        ("drop:", "--control drop:: a share is expected, as drop:0.3"),
        ("drop:x", "--control drop:x: a share is expected, as drop:0.3"),
        ("drop:0", "--control drop:0: above 0 and below 1 is expected"),
        ("drop:1", "--control drop:1: above 0 and below 1 is expected"),
        ("drop:nan", "--control drop:nan: above 0 and below 1 is expected"),
        ("noise:0.3", "--control noise:0.3: noise takes no share; drop ':0.3'"),
    ],
)
def test_what_is_no_control(text: str, said: str) -> None:
    with pytest.raises(OptionError) as caught:
        Control.parse(text)
    assert str(caught.value) == said


@pytest.mark.parametrize("text", ["shuffle", "drop:0.3", "drop:1e-05"])
def test_as_it_is_written(text: str) -> None:
    assert str(Control.parse(text)) == text
    assert Control.parse("drop:.30") == Control.parse("drop:0.3")


def test_a_drop_that_leaves_nothing(given: Vectors) -> None:
    one = {"image": lacking(given["image"], slice(1, None)), "text": given["text"]}
    with pytest.raises(MmxError, match=r"--control drop:0.99 leaves no item with a vector of im"):
        controlled(one, Control("drop", 0.99), 0)
