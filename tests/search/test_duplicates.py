"""Groups of duplicates equal those of a loop over all pairs."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mmx.errors import OptionError
from mmx.search import duplicates as module
from mmx.search.duplicates import duplicate_groups
from mmx.search.searcher import Searcher
from mmx.search.vectors import vectors_of
from tests.search.reference import cosine


def by_pairs(items: dict[str, list[float]], threshold: float) -> list[list[str]]:
    """Groups of two and more, the largest first, else by their first items."""
    groups = [[name] for name in items]
    for a, left in items.items():
        for b, right in items.items():
            if cosine(left, right) >= np.float32(threshold):
                one, other = (next(g for g in groups if name in g) for name in (a, b))
                if one is not other:
                    groups.remove(other)
                    one += other
    places = list(items)
    groups = [sorted(group, key=places.index) for group in groups if len(group) > 1]
    return sorted(groups, key=lambda group: (-len(group), places.index(group[0])))


@pytest.mark.parametrize("block", [3, 1024])
@pytest.mark.parametrize("threshold", [0.9, 0.999, 1.0, 0.05])
def test_groups(block: int, threshold: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    monkeypatch.setattr(module, "PAIRS", 2)
    rng = np.random.default_rng(4)
    matrix = rng.normal(size=(40, 4)).astype(np.float32)
    matrix[20:] = np.round(matrix[20:])  # some point the same way
    matrix[[3, 17, 30]] = matrix[8]
    matrix[31] = 3 * matrix[8]
    matrix[~matrix.any(1)] = 1
    searcher = Searcher(None, "image", vectors_of(pa.array([f"i{n}" for n in range(40)]), matrix))
    for among in (None, [f"i{n}" for n in range(0, 40, 3)]):
        done: list[int] = []
        found = duplicate_groups(
            searcher, threshold, among=among, progress=lambda *at, to=done: to.extend(at)
        ).to_pylist()
        items = {f"i{n}": row.tolist() for n, row in enumerate(matrix)}
        items = {name: items[name] for name in among or items}
        expected = by_pairs(items, threshold)
        groups: dict[int, list[str]] = {}
        for row in found:
            groups.setdefault(row["group"], []).append(row["item_id"])
            head = items[groups[row["group"]][0]]
            assert row["score"] == cosine(items[row["item_id"]], head)
        assert list(groups.values()) == expected
        assert list(groups) == list(range(1, len(expected) + 1))
        assert done[-1] == done[-2] <= len(items)


def test_nothing_to_compare() -> None:
    searcher = Searcher(None, "image", vectors_of(pa.array([], pa.string()), np.zeros((0, 4))))
    assert duplicate_groups(searcher, 0.5).num_rows == 0
    for wrong in (0, -1, 1.01, 98, float("nan")):
        with pytest.raises(OptionError, match="--threshold"):
            duplicate_groups(searcher, wrong)
