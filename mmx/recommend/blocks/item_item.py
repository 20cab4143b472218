"""A scorer made of item-item weights: a user's items say what else to show.

    s_ui = Σ_{j in history of u} w_uj W_ji

Row j of W holds what item j says for every item i; w_uj is the weight of the pair in the log, 1
where there is none. Nothing in it belongs to a user, so it
scores new users, given as lists of items, exactly like known ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from mmx.recommend.interactions import UserItems
from mmx.recommend.scoring import best_of
from mmx.recommend.threads import in_blocks

TERMS_AT_ONCE = 4_000_000  # of the sparse sum; some 30 bytes each
BLOCK_BYTES = 256 << 20  # of items × items work in memory at once
SUM_BYTES = 4 << 20  # of dense sums at once


@dataclass(frozen=True)
class SparseRows:
    """A matrix of float32 in CSR form, of which most entries are zero."""

    indptr: np.ndarray  # (rows + 1,) int64
    indices: np.ndarray  # (entries,) int32 column numbers, ascending within a row
    values: np.ndarray  # (entries,) float32
    n_columns: int

    @classmethod
    def of(cls, matrix: UserItems) -> SparseRows:
        """The same matrix with its entries written out, its ones too."""
        values = matrix.values(np.float32)
        return cls(matrix.indptr, matrix.indices.astype(np.int32), values, matrix.n_items)

    @classmethod
    def stacked(cls, parts: list[SparseRows]) -> SparseRows:
        """Blocks of rows one below the other."""
        counts = np.concatenate([np.diff(part.indptr) for part in parts])
        return cls(
            np.concatenate([[0], np.cumsum(counts)]),
            np.concatenate([part.indices for part in parts]),
            np.concatenate([part.values for part in parts]),
            parts[0].n_columns,
        )


@dataclass(frozen=True)
class ItemItem:
    """Scores are sums of weight rows over the items of a user's history."""

    weights: np.ndarray | SparseRows  # (items, items) float32, dense or sparse
    histories: UserItems  # of the users that ``scores`` knows by number

    @property
    def n_items(self) -> int:
        """Items of the catalogue."""
        return self.histories.n_items

    def scores(self, users: np.ndarray) -> np.ndarray:
        """(n,) user numbers → (n, items)."""
        return self.scores_of(self.histories.rows(users))

    def scores_of(self, histories: UserItems) -> np.ndarray:
        """n users known only by their items → (n, items).

        -inf where the sum is 0: none of those items says anything about that one.
        """
        scores = sum_of_rows(histories, self.weights)
        scores[scores == 0] = -np.inf
        return scores

    def of(self, histories: UserItems) -> ItemItem:
        """The same weights for other users."""
        return replace(self, histories=histories)


def sum_of_rows(which: UserItems, weights: np.ndarray | SparseRows) -> np.ndarray:
    """The (n, rows) matrix ``which`` times the weights (rows, columns), dense float32.

    Every sum runs in the order of the row numbers, alone or in a batch, so that one user
    scores to the bit as among others.
    """
    if isinstance(weights, SparseRows):
        return _sparse_sum(which, weights)
    return _dense_sum(which, weights)


def co_occurrences(
    train: UserItems, rows_at_once: int, weights: np.ndarray | None = None
) -> Iterator[tuple[slice, np.ndarray]]:
    """XᵀX in blocks of rows: which items, and how many users took both, (n, items) float32.

    With ``weights`` (users,) it is Xᵀ diag(weights) X: each user counts as much as they weigh.
    Where pairs have weights they are the entries of X.
    """
    takers, taken = train.transposed(), SparseRows.of(train)
    if weights is not None:
        taken = replace(taken, values=(taken.values * weights[train.users]).astype(np.float32))
    for start in range(0, train.n_items, rows_at_once):
        block = slice(start, min(start + rows_at_once, train.n_items))
        yield block, sum_of_rows(takers.rows(np.arange(block.start, block.stop)), taken)


def block_rows(n_items: int) -> int:
    """How many rows of an items × items matrix make a block."""
    return max(1, BLOCK_BYTES // (16 * n_items))


def kept(block: np.ndarray, count: int, key: np.ndarray | None = None) -> SparseRows:
    """The ``count`` best entries of each row of a dense block; zeros are never kept.

    ``key`` of the same shape says what is best, by default the entries themselves. Of equal
    ones those of lower number are kept.
    """
    _, places = best_of(block if key is None else key, min(count, block.shape[1]))
    places = np.sort(places, axis=1)
    values = np.take_along_axis(block, places, 1)
    rows, which = np.nonzero(values)
    counts = np.bincount(rows, minlength=len(block))
    indptr = np.concatenate([[0], np.cumsum(counts)])
    indices = places[rows, which].astype(np.int32)
    return SparseRows(indptr, indices, values[rows, which], block.shape[1])


def _dense_sum(which: UserItems, weights: np.ndarray) -> np.ndarray:
    from scipy.sparse import csr_array  # which takes longer to import than all else of a run

    values = which.values(np.float32)
    taken = csr_array((values, which.indices, which.indptr), (which.n_users, len(weights)))
    out = np.empty((which.n_users, weights.shape[1]), dtype=np.float32)

    def fill(rows: slice) -> None:
        out[rows] = taken[rows] @ weights

    in_blocks(fill, len(out), max(1, SUM_BYTES // (4 * weights.shape[1])))
    return out


def neighbours_of(similar: np.ndarray, block: slice, count: int) -> SparseRows:
    """The most similar items of a block of items, (b, items), other than each itself."""
    similar[np.arange(len(similar)), np.arange(block.start, block.stop)] = 0
    return kept(np.maximum(similar, 0), count)


def unit_sums(rows: SparseRows) -> SparseRows:
    """Rows of positive entries, each divided by its sum; an empty row stays empty."""
    which = np.repeat(np.arange(len(rows.indptr) - 1), np.diff(rows.indptr))
    sums = np.bincount(which, rows.values, minlength=len(rows.indptr) - 1)  # float64
    return replace(rows, values=(rows.values / sums[which]).astype(np.float32))


def sparser(weights: np.ndarray, keep: int) -> SparseRows:
    """Of each row the ``keep`` entries largest in size; the others become zero."""
    step = block_rows(len(weights))
    blocks = (weights[start : start + step] for start in range(0, len(weights), step))
    return SparseRows.stacked([kept(block, keep, np.abs(block)) for block in blocks])


def blocks_of(items: int) -> Iterator[slice]:
    """Consecutive rows of an items × items matrix, a block at a time."""
    step = block_rows(items)
    for start in range(0, items, step):
        yield slice(start, min(start + step, items))


def _sparse_sum(which: UserItems, weights: SparseRows) -> np.ndarray:
    out = np.zeros(which.n_users * weights.n_columns, dtype=np.float32)
    lengths = np.diff(weights.indptr)[which.indices]  # entries behind each pair
    for pairs in _spans(lengths):
        counts = lengths[pairs]
        ends = np.cumsum(counts)
        within = np.arange(ends[-1]) - np.repeat(ends - counts, counts)
        place = np.repeat(weights.indptr[which.indices[pairs]], counts) + within
        rows = np.repeat(which.users[pairs] * weights.n_columns, counts)
        values = weights.values[place]
        if which.weights is not None:
            values = (values * np.repeat(which.weights[pairs], counts)).astype(np.float32)
        np.add.at(out, rows + weights.indices[place], values)
    return out.reshape(which.n_users, weights.n_columns)


def _spans(lengths: np.ndarray) -> Iterator[slice]:
    """Consecutive pairs whose entries together number about TERMS_AT_ONCE."""
    if not len(lengths):
        return
    span = np.cumsum(lengths) // TERMS_AT_ONCE
    cuts = np.flatnonzero(np.diff(span)) + 1
    edges = [0, *cuts.tolist(), len(lengths)]
    for start, end in pairwise(edges):
        yield slice(start, end)
