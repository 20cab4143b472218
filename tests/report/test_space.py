"""The map's pictures, and how images and texts of one item agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mmx.cache.card import EncoderCard
from mmx.cache.store import Store
from mmx.report import space
from mmx.report.items import Cards
from mmx.report.space import agreement, agreement_html, map_html
from mmx.search.plane import Map
from tests.cache.stores import make_store

CARD = EncoderCard("fake", "mmx", "fake", "none", {"image": 4, "text": 4}, False, "float32")


def both(path: Path, image: list, text: list) -> Store:
    ok = ["ok"] * len(image)
    vectors = {"image": image, "text": text, "image_status": ok, "text_status": ok}
    return make_store(path, len(image), card=CARD, **vectors)


def test_agreement_is_that_of_loops(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    image = rng.normal(size=(30, 4)).astype(np.float32)
    text = (image + rng.normal(size=(30, 4))).astype(np.float32)
    rows = [[one.tolist() for one in side] for side in (image, text)]
    rows[0][3], rows[1][5] = None, None  # type: ignore[call-overload]
    rows[0][7], rows[1][8], rows[0][9] = [0.0] * 4, [float("nan")] * 4, [float("inf"), 0, 0, 0]
    store = both(tmp_path / "s.parquet", *rows)
    used = [n for n in range(30) if n not in (3, 5, 7, 8, 9)]
    x, y = (side[used] / np.linalg.norm(side[used], axis=1)[:, None] for side in (image, text))
    found = agreement(store, 0)
    assert found is not None
    assert (found.items, found.compared) == (28, 25)
    cosines = [[float(a @ b) for b in y] for a in x]
    for way, table in (("image → text", cosines), ("text → image", np.transpose(cosines))):
        places = [sum(one >= row[n] for one in row) for n, row in enumerate(table)]
        shares = {k: np.mean([place <= k for place in places]) for k in (1, 5, 10)}
        assert found.first[way] == pytest.approx(shares)
    assert found.first["image → text"] != found.first["text → image"]
    np.testing.assert_allclose(found.same, np.diagonal(cosines), atol=1e-6)
    apart = [cosines[n][m] for n in range(25) for m in range(25) if n != m]
    np.testing.assert_allclose(np.sort(found.others), np.sort(apart), atol=1e-6)
    assert found.alignment == pytest.approx(np.mean(((x - y) ** 2).sum(1)), abs=1e-6)
    assert found.uniformity[0] != found.uniformity[1]
    for side, value in zip((x, y), found.uniformity, strict=True):
        near = [np.exp(-2 * ((side[n] - side[m]) ** 2).sum()) for n in range(25) for m in range(n)]
        assert value == pytest.approx(np.log(np.mean(near)), abs=1e-5)
    page = agreement_html(store, 0)
    assert "Each of 25 items: its own text among all texts, and its own image of 28" in page


def test_of_many_items_some_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space, "PAIRS", 10)
    rows = np.random.default_rng(3).normal(size=(30, 4)).astype(np.float32).tolist()
    store = both(tmp_path / "s.parquet", rows, rows)
    found, same, other = (agreement(store, seed) for seed in (0, 0, 1))
    assert found is not None
    assert same is not None
    assert other is not None
    assert (found.items, found.compared) == (30, 10)
    assert found.uniformity == same.uniformity != other.uniformity
    assert "Each of 10 items" in agreement_html(store, 0)
    assert "of 30, drawn at random" in agreement_html(store, 0)


def test_equal_images_and_texts_are_drawn_too(tmp_path: Path) -> None:
    """Their cosine is a little more than 1 by rounding."""
    rows = np.random.default_rng(6).normal(size=(2, 512)).astype(np.float32).tolist()
    card = EncoderCard("fake", "mmx", "fake", "none", {"image": 512, "text": 512}, False, "float32")
    ok = ["ok"] * 2
    store = make_store(tmp_path / "s.parquet", 2, card=card, image=rows, text=rows,
                       image_status=ok, text_status=ok)  # fmt: skip
    assert "image and text of one item: from 0 to 1, highest 1;" in agreement_html(store, 0)
    assert space._density("x", np.array([1 + 2e-16, -1 - 2e-16])).y[-1] == 0.5


def test_few_or_other_vectors_have_no_agreement(tmp_path: Path) -> None:
    one, none = [[1.0, 2, 3, 4]], [None]
    assert agreement(both(tmp_path / "one.parquet", one, one), 0) is None
    assert agreement(both(tmp_path / "none.parquet", one * 2, one + none), 0) is None
    zero = [[0.0] * 4]
    assert agreement(both(tmp_path / "zero.parquet", one * 2, one + zero), 0) is None
    assert agreement(make_store(tmp_path / "other.parquet", 9), 0) is None
    assert "mmx extract --model clip" in agreement_html(both(tmp_path / "x.parquet", one, one), 0)


def test_what_a_map_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_store(tmp_path / "s.parquet", 20)  # three have no image
    kinds = ["a", "b"] * 10
    items = Cards(pa.table({"item_id": [f"i{n}" for n in range(20)], "kind": kinds}), None)
    page = map_html(store, "image", items, None, 0)
    assert "image vectors of s.parquet: 17 items, coloured by kind<" in page
    assert "Grey" not in page
    some = Cards(pa.table({"item_id": ["i0", "i2", "i3"], "kind": ["a", "b", None]}), None)
    assert "Grey: other values, or none. The two" in map_html(store, "image", some, None, 0)
    assert "17 items, in one colour<" in map_html(store, "image", Cards(None, None), None, 0)
    monkeypatch.setattr(space, "POINTS", 5)
    assert "5 items, drawn at random from 17, coloured by kind<" in map_html(
        store, "image", items, "kind", 0)  # fmt: skip
    none = make_store(tmp_path / "n.parquet", 3, image=[None] * 3, image_status=["gone"] * 3)
    assert "n.parquet has a vector of image to draw" in map_html(none, "image", items, None, 0)


def test_each_cell_of_a_map_has_the_picture_nearest_to_its_middle() -> None:
    points = np.array([[0.02, 0.06], [0.06, 0.07], [0.12, 0.12], [1, 1], [0.94, 0.9], [0.5, 0.3]])
    ids = [f"i{n}" for n in range(6)]

    class Drawn(Cards):
        def embedded(self, ids: object, side: int = 0) -> dict[str, str]:
            assert side == 56
            return {one: f"data:{one}" for one in ids if one != "i5"}  # type: ignore[attr-defined]

    items = Drawn(pa.table({"item_id": ids, "title": [f"<{n}>" for n in ids]}), None)
    groups = np.array([0, 9, 1, 2, -1, 3])
    one, other = space._pictures(Map(pa.array(ids), points, 6), groups, items)
    assert '<image x="35" y="564" width="34" height="34" href="data:i1"' in one
    assert "<title>&lt;i1&gt;</title>" in one
    assert '<rect class="frame s1" x="35" y="564" width="34" height="34"' in one
    assert 'href="data:i4"' in other
    assert 'class="frame other"' in other
