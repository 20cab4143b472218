"""The graph of users who took the same items, each joined to those it shares most with.

Wang et al., "DualGNN: Dual Graph Neural Network for Multimedia Recommendation", TMM 2023;
DRAGON and COHESION have the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

from mmx.recommend.blocks.graph import Sparse
from mmx.recommend.interactions import UserItems

if TYPE_CHECKING:
    from scipy.sparse import coo_array

TERMS_AT_ONCE = 4_000_000  # pairs of users for each item that both took; some 40 bytes each


def user_graph(train: UserItems, count: int) -> Sparse:
    """The ``count`` other users with whom each has most items in common → (users, users).

    They weigh softmax(number of common items), so that a row sums to 1; a user who shares nothing
    has an empty row. Of users with equally many those of lower number are kept. Made in blocks of
    users from those who share something: no (users, users) matrix is held.
    """
    from scipy.sparse import csr_array  # which takes longer to import than all else of a run

    users, ones = train.n_users, np.ones(len(train.indices), dtype=np.int32)
    taken = csr_array((ones, train.indices, train.indptr), (users, train.n_items))
    takers = taken.T.tocsr()
    shared = ((taken[block] @ takers, block.start) for block in _blocks(train))
    found = [_nearest(part.tocoo(), start, count) for part, start in shared]
    rows, columns, common = (np.concatenate([part[n] for part in found]) for n in range(3))
    most = np.zeros(users)
    np.maximum.at(most, rows, common)
    weights = np.exp(common - most[rows])
    weights /= np.bincount(rows, weights, minlength=users)[rows]
    place = torch.from_numpy(rows), torch.from_numpy(columns)
    return Sparse(*place, torch.from_numpy(weights.astype(np.float32)), (users, users))


def _blocks(train: UserItems) -> Iterator[slice]:
    """Consecutive users who have about TERMS_AT_ONCE pairs (item of theirs, user who took it)."""
    terms = np.bincount(train.users, train.item_counts[train.indices], minlength=train.n_users)
    block = (np.cumsum(terms) // TERMS_AT_ONCE).astype(np.int64)
    edges = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), train.n_users]
    for start, stop in pairwise(edges):
        yield slice(start, stop)


def _nearest(
    shared: coo_array, start: int, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges of users from ``start`` on: from whom, to whom, how many items they share.

    ``shared`` has these users' rows of the numbers of common items, (users, all users).
    """
    apart = shared.row + start != shared.col
    rows, columns, common = (x[apart].astype(np.int64)
                             for x in (shared.row, shared.col, shared.data))  # fmt: skip
    most, users = int(common.max(initial=0)), shared.shape[1]
    key = (rows * (most + 1) + most - common) * users + columns
    key.sort()  # by user, then by falling number, then by the other's number
    sizes = np.bincount(rows, minlength=shared.shape[0])
    rank = np.arange(len(key)) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # within a user's
    first, columns = np.divmod(key[rank < count], users)
    rows, less = np.divmod(first, most + 1)
    return rows + start, columns, most - less
