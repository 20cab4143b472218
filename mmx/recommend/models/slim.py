"""SLIM: each item as a sparse, non-negative sum of other items.

Ning and Karypis, "SLIM: Sparse Linear Methods for Top-N Recommender Systems", ICDM 2011:

    min_W ½ ‖X − XW‖²_F + β/2 ‖W‖²_F + λ ‖W‖₁   with W ≥ 0 and diag(W) = 0      (equation 3)
    s_ui = Σ_{j taken by u} W_ji                                                (equation 1)

Where pairs have weights they are the entries of X, and s_ui is a sum of w_uj W_ji.

Every column is a problem of its own (equation 4), an elastic net: that of scikit-learn with
``alpha`` = (λ + β) / users, ``l1_ratio`` = λ / (λ + β), ``positive=True`` and no intercept. Since
neither XᵀX nor W has a negative entry, W_ji can be above 0 only if (XᵀX)_ji is above λ: only these
items (without weights, those that more than λ users took with i) enter the problem of item i, so
that sparse data make small problems, and they are solved exactly.

Equations: 1, 3 and 4.

Released code: not compared; scikit-learn's ElasticNet gives the same weights.

XᵀX is kept sparse: 12 bytes for each two items that some user took both of. The paper searches λ
and β for each data set; these defaults were chosen on validation on MovieLens 100K and Amazon Baby.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mmx.bounds import check_settings, number
from mmx.recommend.blocks.item_item import ItemItem, SparseRows
from mmx.recommend.blocks.nonnegative import nonnegative_minimum
from mmx.recommend.interactions import UserItems
from mmx.recommend.memory import must_fit
from mmx.recommend.protocol import World

ENTRY = 24  # bytes of an entry of a sparse matrix, twice while it is made


@dataclass(frozen=True)
class Config:
    """Hyper-parameters of SLIM."""

    l1: float = 1.0  # λ, in users; larger keeps fewer weights
    l2: float = 50.0  # β, in users

    def __post_init__(self) -> None:
        check_settings(self, l1=number(0), l2=number(0, above=True))


def fit(config: Config, world: World) -> ItemItem:
    """The exact solution. Raises RunError when the sparse XᵀX does not fit in memory."""
    from scipy.sparse import csc_array

    gram = _gram(world.train)
    columns = [_column(gram, i, config) for i in range(world.n_items)]
    starts = np.concatenate([[0], np.cumsum([len(rows) for rows, _ in columns])])
    rows = np.concatenate([rows for rows, _ in columns])
    values = np.concatenate([values for _, values in columns])
    shape = (world.n_items, world.n_items)
    w = csc_array((values, rows, starts), shape=shape).tocsr()
    indptr, indices = w.indptr.astype(np.int64), w.indices.astype(np.int32)
    return ItemItem(SparseRows(indptr, indices, w.data.astype(np.float32), shape[1]), world.train)


def _gram(train: UserItems) -> Any:
    """XᵀX, a csr_array (items, items) float64."""
    from scipy.sparse import csr_array

    pairs = min(int((train.counts.astype(np.float64) ** 2).sum()), train.n_items**2)
    must_fit(f"SLIM of {train.n_items:,} items", ENTRY * pairs, "choose --model itemknn")
    x = csr_array(
        (train.values(), train.indices, train.indptr), shape=(train.n_users, train.n_items)
    )
    return (x.T @ x).tocsr()


def _column(gram: Any, item: int, config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Equation 4 for one item: the items of weight above 0, and their weights."""
    span = slice(gram.indptr[item], gram.indptr[item + 1])
    both, shared = gram.indices[span], gram.data[span]  # items taken with it, by how many users
    chosen = (shared > config.l1) & (both != item)
    others = both[chosen]  # (m,)
    a = gram[others][:, others].toarray()  # (m, m)
    a[np.diag_indices_from(a)] += config.l2
    w = nonnegative_minimum(a, shared[chosen] - config.l1)
    return others[w > 0], w[w > 0]
