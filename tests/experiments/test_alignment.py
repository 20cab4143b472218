"""Alignment and uniformity against loops in float64."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from mmx.data.dataset import load_items
from mmx.experiments import alignment as module
from mmx.experiments.alignment import alignment, describe, uniformity
from mmx.extract.encoders import open_encoder
from mmx.extract.pipeline import extract
from mmx.recommend.features import FeatureSpec
from tests.catalogue import plain_catalogue


def unit(vector: np.ndarray) -> list[float]:
    length = math.sqrt(sum(float(v) ** 2 for v in vector))
    return [float(v) / length for v in vector]


def squared(x: np.ndarray, y: np.ndarray) -> float:
    return sum((a - b) ** 2 for a, b in zip(unit(x), unit(y), strict=True))


def slow_uniformity(x: np.ndarray) -> float:
    n = len(x)
    kernels = [math.exp(-2 * squared(x[i], x[j])) for i in range(n) for j in range(i + 1, n)]
    return math.log(sum(kernels) / len(kernels))


def vectors(n: int, d: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


@pytest.mark.parametrize(("n", "block"), [(2, 3), (9, 3), (10, 3), (10, 64)])
def test_uniformity_is_the_loop(n: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    assert uniformity(vectors(n)) == pytest.approx(slow_uniformity(vectors(n)), abs=1e-12)


def test_uniformity_at_its_ends() -> None:
    assert uniformity(np.ones((4, 3))) == pytest.approx(0.0)  # all equal: log of 1
    assert uniformity(np.array([[1.0, 0], [-2.0, 0]])) == pytest.approx(-8.0)  # ‖x-y‖² = 4
    assert math.isnan(uniformity(np.ones((1, 3))))


def test_alignment_is_the_loop() -> None:
    x, y = vectors(8), vectors(8, seed=1)
    expected = sum(squared(a, b) for a, b in zip(x, y, strict=True)) / 8
    assert alignment(x, y) == pytest.approx(expected, abs=1e-12)
    assert alignment(x, 3 * x) == pytest.approx(0.0)


def test_a_sample_stands_for_many() -> None:
    x = vectors(300)
    whole, part = uniformity(x), uniformity(x, most=150)
    assert part != whole
    assert part == pytest.approx(whole, abs=0.1)
    assert part == uniformity(x, most=150)  # the same draw
    assert part != uniformity(x, most=150, seed=1)


def test_of_a_store(tmp_path: Path) -> None:
    items = load_items(plain_catalogue(tmp_path / "d", items=12))
    extract(items, open_encoder("toy"), tmp_path / "toy.parquet")
    facts = describe([FeatureSpec(tmp_path / "toy.parquet")], items.ids)
    assert facts["items_image"] == facts["items_text"] == 12
    assert facts["alignment"] is not None
    alone = describe([FeatureSpec(tmp_path / "toy.parquet", ("image",))], items.ids)
    assert alone["alignment"] is None
    assert "uniformity_text" not in alone
    shutil.copy(tmp_path / "toy.parquet", tmp_path / "other.parquet")
    pair = [FeatureSpec(tmp_path / "toy.parquet", (m,)) for m in ("image", "text")]
    assert describe(pair, items.ids) == facts
    other = [pair[0], FeatureSpec(tmp_path / "other.parquet", ("text",))]
    assert describe(other, items.ids)["alignment"] is None  # two stores are two spaces
    fewer = describe([FeatureSpec(tmp_path / "toy.parquet")], items.ids[:5])
    assert fewer["items_image"] == 5
