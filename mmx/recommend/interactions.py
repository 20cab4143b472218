"""Who took what, as numbers: one sorted sparse matrix per split under two vocabularies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmx.data.vocabulary import Vocabulary

PAIRS_COMPARED = 4_000_000  # at once, by ``found_in``


@dataclass(frozen=True)
class UserItems:
    """A users × items matrix in CSR form; the items of a user are sorted and distinct.

    Its entries are 1, or the weights of the pairs where the log has any.
    """

    indptr: np.ndarray  # (users + 1,) int64
    indices: np.ndarray  # (pairs,) int64 item numbers
    n_items: int
    weights: np.ndarray | None = None  # (pairs,) float64 above 0; None: all are 1

    @classmethod
    def from_pairs(
        cls,
        users: np.ndarray,
        items: np.ndarray,
        n_users: int,
        n_items: int,
        weights: np.ndarray | None = None,
    ) -> UserItems:
        """From (pairs,) numbers in any order; repetitions count once, their weights in sum."""
        keys = users.astype(np.int64) * n_items + items
        if weights is None:
            keys = np.unique(keys)
        else:
            keys, place = np.unique(keys, return_inverse=True)
            weights = np.bincount(place, weights, minlength=len(keys))
        counts = np.bincount(keys // n_items, minlength=n_users)
        return cls(np.concatenate([[0], np.cumsum(counts)]), keys % n_items, n_items, weights)

    @property
    def n_users(self) -> int:
        """Rows of the matrix."""
        return len(self.indptr) - 1

    @cached_property
    def counts(self) -> np.ndarray:
        """(users,) items of each user."""
        return np.diff(self.indptr)

    @cached_property
    def item_counts(self) -> np.ndarray:
        """(items,) users of each item."""
        return np.bincount(self.indices, minlength=self.n_items)

    @cached_property
    def users(self) -> np.ndarray:
        """(pairs,) user numbers, in the order of ``indices``."""
        return np.repeat(np.arange(self.n_users), self.counts)

    @cached_property
    def keys(self) -> np.ndarray:
        """(pairs,) user * n_items + item, ascending: a set one can ``searchsorted`` in."""
        return self.users * self.n_items + self.indices

    def values(self, kind: type = np.float64) -> np.ndarray:
        """(pairs,) the entries as numbers of a kind."""
        if self.weights is None:
            return np.ones(len(self.indices), kind)
        return self.weights.astype(kind)

    def user_sums(self, power: float = 1) -> np.ndarray:
        """(users,) of each user the sum of the entries to a power; without weights the counts."""
        if self.weights is None:
            return self.counts
        return np.bincount(self.users, self.weights**power, minlength=self.n_users)

    def item_sums(self) -> np.ndarray:
        """(items,) of each item the sum of the entries; without weights the counts."""
        if self.weights is None:
            return self.item_counts
        return np.bincount(self.indices, self.weights, minlength=self.n_items)

    def unweighted(self) -> UserItems:
        """The 0/1 matrix of the same pairs."""
        return self if self.weights is None else replace(self, weights=None)

    def rows(self, users: np.ndarray) -> UserItems:
        """The matrix of some users, in the order given."""
        counts = self.counts[users]
        indptr = np.concatenate([[0], np.cumsum(counts)])
        within = np.arange(indptr[-1]) - np.repeat(indptr[:-1], counts)
        places = np.repeat(self.indptr[users], counts) + within
        weights = None if self.weights is None else self.weights[places]
        return UserItems(indptr, self.indices[places], self.n_items, weights)

    def transposed(self) -> UserItems:
        """The items × users matrix: who took an item."""
        shape = (self.n_items, self.n_users)
        return UserItems.from_pairs(self.indices, self.users, *shape, self.weights)

    def widened(self, n_items: int) -> UserItems:
        """The matrix with more items, which nobody took, after its own."""
        return UserItems(self.indptr, self.indices, n_items, self.weights)

    def found_in(self, items: np.ndarray) -> np.ndarray:
        """Which of (users, m) item numbers are the user's → (users, m) bool.

        Costs a comparison for each pair of the matrix and each column, in bounded blocks.
        """
        found = np.zeros(items.shape, dtype=bool)
        step = max(1, PAIRS_COMPARED // max(items.shape[1], 1))
        for start in range(0, len(self.indices), step):
            rows = self.users[start : start + step]
            pair, column = np.nonzero(items[rows] == self.indices[start : start + step, None])
            found[rows[pair], column] = True
        return found

    def __or__(self, other: UserItems) -> UserItems:
        """Pairs that are in either."""
        users = np.concatenate([self.users, other.users])
        items = np.concatenate([self.indices, other.indices])
        weighted = self.weights is not None or other.weights is not None
        weights = np.concatenate([self.values(), other.values()]) if weighted else None
        return UserItems.from_pairs(users, items, self.n_users, self.n_items, weights)


@dataclass(frozen=True)
class Interactions:
    """A split log under its vocabularies; items are the whole catalogue.

    Of equal scores the lower number comes first, so ``fit`` numbers items by a hash.
    """

    users: Vocabulary
    items: Vocabulary
    train: UserItems
    valid: UserItems
    test: UserItems
    fold_in: UserItems | None = None  # of whole users held out: what is known of them

    @classmethod
    def from_table(
        cls,
        table: pa.Table,
        items: pa.ChunkedArray | pa.Array,
        users: pa.ChunkedArray | pa.Array | None = None,
    ) -> Interactions:
        """From (user_id, item_id [, weight], split) and all external item ids.

        Items are numbered as in ``items``, users as in ``users``, by default by rising id. Raises
        UnknownIdError on an interaction with an item that is not in the catalogue, ValueError on
        a weight that is not a number above 0.
        """
        user_ids = Vocabulary(_sorted(table["user_id"]) if users is None else users, "user")
        item_ids = Vocabulary(items, "item")
        rows, columns = user_ids.numbers(table["user_id"]), item_ids.numbers(table["item_id"])
        parts, weights = [], _weights(table)
        names = pc.unique(table["split"]).to_pylist()
        for name in ("train", "valid", "test", *({"fold-in"} & set(names))):
            mine = pc.equal(table["split"], name).to_numpy()
            own = None if weights is None else weights[mine]
            shape = (len(user_ids), len(item_ids))
            parts.append(UserItems.from_pairs(rows[mine], columns[mine], *shape, own))
        return cls(user_ids, item_ids, *parts)

    def with_items(self, ids: pa.Array) -> Interactions:
        """With (n,) more items, which nobody took, after the others."""
        together = pa.concat_arrays([self.items.ids, ids.cast(self.items.ids.type)])
        parts = (part.widened(len(together)) for part in self.parts)
        return Interactions(self.users, Vocabulary(together, "item"), *parts)

    @property
    def parts(self) -> list[UserItems]:
        """Train, valid, test and, where whole users are held out, fold_in."""
        more = [] if self.fold_in is None else [self.fold_in]
        return [self.train, self.valid, self.test, *more]

    @cached_property
    def known(self) -> UserItems:
        """What a user is scored by: the training items, of a held-out user those to fold in.

        Masked in every evaluation; a user without any is not evaluated.
        """
        return self.train if self.fold_in is None else self.train | self.fold_in

    @property
    def seen(self) -> UserItems:
        """Everything a user is known to have taken, in whatever split."""
        return self.known | self.valid | self.test


def _weights(table: pa.Table) -> np.ndarray | None:
    """(rows,) float64; None where there are none, or all are 1."""
    if "weight" not in table.column_names:
        return None
    found = table["weight"].cast(pa.float64()).to_numpy()  # a null is NaN
    if not (np.isfinite(found) & (found > 0)).all():
        raise ValueError("some weight is not a number above 0")
    return None if (found == 1).all() else found


def _sorted(ids: pa.ChunkedArray) -> pa.Array:
    different = pc.unique(ids)
    return different.take(pc.sort_indices(different))
