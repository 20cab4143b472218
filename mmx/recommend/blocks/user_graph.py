"""The graph of users who took the same items, each joined to those it shares most with.

Wang et al., "DualGNN: Dual Graph Neural Network for Multimedia Recommendation", TMM 2023;
DRAGON has the same.
"""

from __future__ import annotations

import numpy as np
import torch

from mmx.recommend.blocks.graph import Sparse
from mmx.recommend.blocks.item_item import (
    SparseRows,
    block_rows,
    co_occurrences,
    neighbours_of,
)
from mmx.recommend.interactions import UserItems


def user_graph(train: UserItems, count: int) -> Sparse:
    """The ``count`` other users with whom each has most items in common → (users, users).

    They weigh softmax(number of common items), so that a row sums to 1; a user who shares nothing
    has an empty row. Of users with equally many those of lower number are kept. Made in blocks of
    users: no (users, users) matrix is held.
    """
    users, takers = train.n_users, train.transposed()  # items' users
    blocks = co_occurrences(takers, block_rows(users))
    found = SparseRows.stacked([neighbours_of(common, block, count) for block, common in blocks])
    rows = np.repeat(np.arange(users), np.diff(found.indptr))
    most = np.zeros(users)
    np.maximum.at(most, rows, found.values)
    weights = np.exp(found.values - most[rows])  # float64
    weights /= np.bincount(rows, weights, minlength=users)[rows]
    place = torch.from_numpy(rows), torch.from_numpy(found.indices.astype(np.int64))
    return Sparse(*place, torch.from_numpy(weights.astype(np.float32)), (users, users))
