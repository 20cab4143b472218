"""Groups of items whose vectors are nearly the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mmx.bounds import check, number
from mmx.search.nearest import cosines
from mmx.search.searcher import Ids, Searcher

BLOCK = 1024  # rows compared with as many others at once
PAIRS = 1 << 14  # of which the cosines are computed in float64 at once


def duplicate_groups(
    searcher: Searcher,
    threshold: float,
    *,
    among: Ids | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> pa.Table:
    """Items that are connected by pairs with a cosine of at least ``threshold``.

    Columns group (1, 2 …, the largest first), item_id (of a group in the store's order) and score,
    the cosine to the first of the group. ``progress`` gets different vectors done and in all.
    Raises OptionError for a threshold that is not above 0 and at most 1.
    """
    check("--threshold ", threshold, number(0, 1, above=True))
    rows = searcher.within(among)
    first, same = _identical(searcher.vectors.matrix[rows])
    labels = _connected(searcher, rows[first], threshold, progress)[same]  # (n,) of the rows
    counts = np.bincount(labels, minlength=1)
    several = np.flatnonzero(counts[labels] > 1)
    starts = np.full(len(counts), len(rows))
    np.minimum.at(starts, labels[several], several)  # where each group begins
    order = several[np.lexsort((several, starts[labels[several]], -counts[labels[several]]))]
    names = labels[order]
    begins = np.flatnonzero(np.diff(names, prepend=-1))
    group = np.cumsum(np.diff(names, prepend=-1) != 0)
    heads = np.repeat(order[begins], np.diff(np.append(begins, len(order))))
    return pa.table({
        "group": pa.array(group.astype(np.int64)),
        "item_id": searcher.ids.take(pa.array(rows[order])),
        "score": _cosines(searcher, rows[order], rows[heads]),
    })  # fmt: skip


def _identical(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first of each kind of row, and of which kind each row is: thousands may be the same."""
    kinds: dict[bytes, int] = {}
    same = np.array([kinds.setdefault(row.tobytes(), len(kinds)) for row in matrix], dtype=np.int64)
    return np.unique(same, return_index=True)[1], same


def _connected(
    searcher: Searcher,
    rows: np.ndarray,
    threshold: float,
    progress: Callable[[int, int], None],
) -> np.ndarray:
    """(n,) the group of each row."""
    labels = np.arange(len(rows))
    for done, (one, other) in _near(searcher, rows, threshold):
        apart = labels[one] != labels[other]
        left, right = one[apart], other[apart]
        exact = _cosines(searcher, rows[left], rows[right]) >= np.float32(threshold)
        if exact.any():
            labels = _united(labels, left[exact], right[exact])
        progress(done, len(rows))
    return labels


def _united(labels: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    edges = (np.ones(len(left), dtype=bool), (labels[left], labels[right]))
    size = len(labels)
    merged = connected_components(coo_array(edges, shape=(size, size)), directed=False)[1]
    return np.asarray(merged[labels], dtype=np.int64)


def _near(
    searcher: Searcher, rows: np.ndarray, threshold: float
) -> Iterator[tuple[int, tuple[np.ndarray, np.ndarray]]]:
    """Pairs that may reach the threshold, each once, and how many rows are done."""
    matrix, scale = searcher.vectors.matrix, searcher.vectors.scale
    limit = threshold - 2 * searcher.error
    for start in range(0, len(rows), BLOCK):
        mine = rows[start : start + BLOCK]
        units = matrix[mine] * scale[mine, None]
        for other in range(start, len(rows), BLOCK):
            theirs = rows[other : other + BLOCK]
            near = (units @ matrix[theirs].T) * scale[theirs] >= limit
            left, right = np.nonzero(near)
            left, right = left + start, right + other
            once = left < right
            yield start, (left[once], right[once])
        yield start + len(mine), (rows[:0], rows[:0])


def _cosines(searcher: Searcher, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    matrix = searcher.vectors.matrix
    found = np.empty(len(left), np.float32)
    for start in range(0, len(left), PAIRS):
        part = slice(start, start + PAIRS)
        found[part] = cosines(matrix[left[part]], matrix[right[part]])
    return found
