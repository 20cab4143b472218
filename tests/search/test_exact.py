"""Search equals a loop in float64: ties, duplicates, null, zero and odd vectors, filters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmx.errors import OptionError, StoreError, UnknownIdError
from mmx.search import nearest as module
from mmx.search.searcher import Searcher, open_searcher
from mmx.search.vectors import load_vectors, vectors_of
from tests.cache.stores import CARD, make_store
from tests.search.reference import nearest, usable

NUMBERS = st.sampled_from([-2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 0.5, 1e-3, 1e25, 1e-30])
VECTORS = st.one_of(st.none(), st.lists(NUMBERS, min_size=3, max_size=3))


def in_memory(items: dict[str, list[float] | None]) -> Searcher:
    """A searcher without a store; an item without a vector is left out."""
    there = {name: vector for name, vector in items.items() if vector is not None}
    matrix = np.array(list(there.values()), np.float32).reshape(-1, 3)
    return Searcher(None, "image", vectors_of(pa.array(list(there), pa.string()), matrix))


def searcher_of(
    path: Path, items: dict[str, list[float] | None], dtype: str = "float32"
) -> Searcher:
    statuses = ["ok" if vector is not None else "gone" for vector in items.values()]
    store = make_store(path, list(items), image=list(items.values()), image_status=statuses,
                       dtype=dtype)  # fmt: skip
    return open_searcher(store)


def pairs(table: object) -> list[tuple[str, float]]:
    found = table.to_pydict()  # type: ignore[attr-defined]
    ids = found.get("similar_id", found["item_id"])
    assert found["rank"] == list(range(1, len(ids) + 1))
    return list(zip(ids, found["score"], strict=True))


CASES = given(
    vectors=st.lists(VECTORS, min_size=1, max_size=24),
    query=st.lists(NUMBERS, min_size=3, max_size=3).filter(any),
    k=st.integers(1, 8),
    data=st.data(),
    tight=st.booleans(),
)


@settings(max_examples=25, deadline=None)
@CASES
def test_search_equals_a_loop(**case: Any) -> None:
    equals_a_loop(**case)


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@CASES
def test_search_equals_a_loop_in_many_cases(**case: Any) -> None:
    equals_a_loop(**case)


def equals_a_loop(
    vectors: list,
    query: list[float],
    k: int,
    data: st.DataObject,
    tight: bool,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if tight:
            patch.setattr(module, "SLACK", 0)
            patch.setattr(module, "SCORES", 1)
            patch.setattr(module, "TOGETHER", 2)
            patch.setattr(module, "EXACT_BYTES", 100)
        floats = [v if v is None else np.float32(v).tolist() for v in vectors]
        items = {f"i{n}": vector for n, vector in enumerate(floats)}
        searcher = in_memory(items)
        asked = np.float32(query).tolist()
        assert searcher.ids.to_pylist() == [name for name, v in items.items() if usable(v)]
        assert pairs(searcher.search(np.float32(query), k)) == nearest(items, asked, k)
        sizes = st.sampled_from(sorted({0, 1, max(k - 1, 0), k, len(items)}))
        among = set(list(items)[::-1][: data.draw(sizes)]) | {"a stranger"}
        found = searcher.search(np.float32(query), k, among=sorted(among))
        assert pairs(found) == nearest(items, asked, k, among)
        for name in [name for name, v in items.items() if usable(v)][:3]:
            rest = {other: v for other, v in items.items() if other != name}
            assert pairs(searcher.similar(name, k)) == nearest(rest, items[name], k)
            found = searcher.similar(name, k, among=sorted(among))
            assert pairs(found) == nearest(rest, items[name], k, among)


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_all_equals_a_loop_of_each(
    tmp_path: Path, normalised: bool, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random vectors, a third of them the same: by FAISS where norms are even, else by blocks."""
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(90, 3))
    matrix[::3] = matrix[0]
    if normalised:
        matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    rows = matrix.astype(dtype).astype(np.float32).tolist()
    items = {f"i{n}": None if n % 7 == 1 else row for n, row in enumerate(rows)}
    used: list[str] = []
    for name in ("inner_products", "_best_of"):
        there = getattr(module, name, None) or getattr(module.Nearest, name)
        where = module if hasattr(module, name) else module.Nearest
        monkeypatch.setattr(where, name, lambda *a, _n=name, _t=there: (used.append(_n), _t(*a))[1])
    searcher = searcher_of(tmp_path / "s.parquet", items, dtype)
    done: list[tuple[int, int]] = []
    monkeypatch.setattr("mmx.search.searcher.BLOCK", 20)
    tables = list(searcher.similar_all(5, progress=lambda *at: done.append(at)))
    lists: dict[str, list] = {}
    for row in (row for table in tables for row in table.to_pylist()):
        lists.setdefault(row["item_id"], []).append((row["similar_id"], row["score"]))
    assert list(lists) == searcher.ids.to_pylist()
    for name, found in lists.items():
        rest = {other: vector for other, vector in items.items() if other != name}
        assert found == nearest(rest, items[name], 5)
    assert done[-1] == (len(searcher), len(searcher))
    assert len(done) == 4
    assert ("inner_products" in used) == normalised
    assert 4 <= used.count("_best_of") <= 20  # the 26 that are the same count once a block
    among = {f"i{n}" for n in range(20, 90)}
    for row in (row for part in searcher.similar_all(5, among=sorted(among)) for row in
                part.to_pylist()):  # fmt: skip
        lists.setdefault(f"among: {row['item_id']}", []).append((row["similar_id"], row["score"]))
    for name in among & {*searcher.ids.to_pylist()}:
        rest = {other: vector for other, vector in items.items() if other != name}
        assert lists[f"among: {name}"] == nearest(rest, items[name], 5, among)
    some = [row for part in searcher.similar_all(50, among=["i0", "i2", "i3"]) for row in
            part.to_pylist()]  # fmt: skip
    assert len(some) == 6
    assert {row["item_id"] for row in some} == {"i0", "i2", "i3"}


def test_what_cannot_be_searched_is_one_line(tmp_path: Path) -> None:
    items = {"a": [1.0, 0.0, 0.0], "b": None, "c": [0.0, 0.0, 0.0], "apple": [0.0, 1.0, 0.0]}
    searcher = searcher_of(tmp_path / "s.parquet", items)
    with pytest.raises(UnknownIdError, match="unknown item: appel; did you mean 'apple'"):
        searcher.similar("appel")
    with pytest.raises(StoreError, match=r"b has no image vector .*\(gone\); --modality text"):
        searcher.similar("b")
    with pytest.raises(StoreError, match=r"c has no image vector .*zero or not finite"):
        searcher.similar(["a", "c"])
    for wrong in ([0.0] * 3, [np.nan, 1, 1], [np.inf, 1, 1], [1.0], "words", [[1, 2], [3]]):
        with pytest.raises(OptionError):
            searcher.search(wrong)  # type: ignore[arg-type]
    for k in (0, -1, 1.5, True):
        with pytest.raises(OptionError, match="--k"):
            searcher.similar("a", k)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"--modality images is unknown; did you mean 'image'"):
        open_searcher(searcher.store, "images")
    assert searcher.similar("a", 9)["similar_id"].to_pylist() == ["apple"]
    assert searcher.search(np.array([3e38, 1e-40, 0.0]), 1)["item_id"].to_pylist() == ["a"]


def test_a_store_without_vectors_gives_nothing(tmp_path: Path) -> None:
    searcher = searcher_of(tmp_path / "s.parquet", {"a": None})
    assert searcher.search(np.ones(3)).num_rows == 0
    assert sum(table.num_rows for table in searcher.similar_all()) == 0
    assert CARD.modalities[0] == searcher.modality
    assert len(load_vectors(searcher.store, "text")) == 1


def test_ids_to_choose_from_may_be_in_any_order_and_repeated() -> None:
    searcher = in_memory({f"i{n}": [1.0, n / 10, 0.0] for n in range(30)})
    among = ["i7", "i3", "i3", "nobody", "i21", "i7"]
    assert searcher.similar("i1", 5, among=among)["similar_id"].to_pylist() == ["i3", "i7", "i21"]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_rows_that_cannot_be_searched_are_left_out_in_the_middle(
    tmp_path: Path, dtype: str
) -> None:
    inf, nan = float("inf"), float("nan")
    rows = [[1.0, 2.0, 3.0], [0.0] * 3, None, [2.0, 1.0, 1.0], [nan, 1.0, 1.0], [-inf, 1.0, 0.0],
            [5.0, 0.0, 1.0], [1.0, nan, 0.0], [0.0, 0.0, 4.0]]  # fmt: skip
    searcher = searcher_of(tmp_path / "s.parquet", {f"i{n}": r for n, r in enumerate(rows)}, dtype)
    assert searcher.ids.to_pylist() == ["i0", "i3", "i6", "i8"]
    expected = np.float32([rows[n] for n in (0, 3, 6, 8)])
    np.testing.assert_array_equal(searcher.vectors.matrix, expected)
    norms = np.linalg.norm(expected, axis=1)
    np.testing.assert_allclose(searcher.vectors.scale, 1 / norms, rtol=1e-6)


def test_queries_together_find_what_each_finds_alone() -> None:
    """By one matrix product or one after the other; some vectors are equal."""
    matrix = np.random.default_rng(5).normal(size=(5000, 48)).astype(np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    matrix[2500:2600] = matrix[:100]
    ids = pa.array([f"i{n}" for n in range(5000)])
    searcher = Searcher(None, "image", vectors_of(ids, matrix))
    rows = np.arange(0, 5000, 77)
    together = searcher.others(rows, 20)
    for place, row in enumerate(rows):
        alone = searcher.others(rows[place : place + 1], 20)
        np.testing.assert_array_equal(alone.places[0], together.places[place], str(row))
        np.testing.assert_array_equal(alone.scores[0], together.scores[place])


def test_lengths_that_are_nearly_even_do_not_count_where_all_is_far() -> None:
    """The products are negative: those of the shortest rows are the largest."""
    rng = np.random.default_rng(6)
    rows = np.float32([1, 0, 0]) + 0.03 * rng.normal(size=(200, 3))
    rows *= (rng.uniform(1, 1.009, 200) / np.linalg.norm(rows, axis=1))[:, None]
    items: dict[str, list[float] | None] = {
        f"i{n}": row.tolist() for n, row in enumerate(rows.astype(np.float32))
    }
    found = in_memory(items).search(np.float32([-1, 0, 0]), 5)
    assert pairs(found) == nearest(items, [-1.0, 0.0, 0.0], 5)


def test_pictures_are_searched_where_no_modality_is_named(tmp_path: Path) -> None:
    for number, (dimensions, first) in enumerate(
        [({"audio": 2, "image": 3}, "image"), ({"audio": 2, "text": 2}, "audio")]
    ):
        card = replace(CARD, dimensions=dimensions)
        columns = {f"{name}_status": ["ok"] * 3 for name in dimensions}
        columns |= {name: [[1.0] * d] * 3 for name, d in dimensions.items()}
        store = make_store(tmp_path / f"{number}.parquet", 3, card=card, **columns)
        assert open_searcher(store).modality == first
