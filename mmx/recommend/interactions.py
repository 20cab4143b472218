"""Who took what, as numbers: one sorted sparse matrix per split under two vocabularies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmx.data.vocabulary import Vocabulary

PAIRS_COMPARED = 4_000_000  # at once, by ``found_in``


@dataclass(frozen=True)
class UserItems:
    """A users × items 0/1 matrix in CSR form; the items of a user are sorted and distinct."""

    indptr: np.ndarray  # (users + 1,) int64
    indices: np.ndarray  # (pairs,) int64 item numbers
    n_items: int

    @classmethod
    def from_pairs(
        cls, users: np.ndarray, items: np.ndarray, n_users: int, n_items: int
    ) -> UserItems:
        """From (pairs,) user and item numbers in any order; repetitions count once."""
        keys = np.unique(users.astype(np.int64) * n_items + items)
        counts = np.bincount(keys // n_items, minlength=n_users)
        return cls(np.concatenate([[0], np.cumsum(counts)]), keys % n_items, n_items)

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

    def rows(self, users: np.ndarray) -> UserItems:
        """The matrix of some users, in the order given."""
        counts = self.counts[users]
        indptr = np.concatenate([[0], np.cumsum(counts)])
        within = np.arange(indptr[-1]) - np.repeat(indptr[:-1], counts)
        places = np.repeat(self.indptr[users], counts) + within
        return UserItems(indptr, self.indices[places], self.n_items)

    def transposed(self) -> UserItems:
        """The items × users matrix: who took an item."""
        return UserItems.from_pairs(self.indices, self.users, self.n_items, self.n_users)

    def widened(self, n_items: int) -> UserItems:
        """The matrix with more items, which nobody took, after its own."""
        return UserItems(self.indptr, self.indices, n_items)

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
        return UserItems.from_pairs(users, items, self.n_users, self.n_items)


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
        """From (user_id, item_id, split) and all external item ids.

        Items are numbered as in ``items``, users as in ``users``, by default by rising id. Raises
        UnknownIdError on an interaction with an item that is not in the catalogue.
        """
        user_ids = Vocabulary(_sorted(table["user_id"]) if users is None else users, "user")
        item_ids = Vocabulary(items, "item")
        rows, columns = user_ids.numbers(table["user_id"]), item_ids.numbers(table["item_id"])
        parts = []
        names = pc.unique(table["split"]).to_pylist()
        for name in ("train", "valid", "test", *({"fold-in"} & set(names))):
            mine = pc.equal(table["split"], name).to_numpy()
            parts.append(
                UserItems.from_pairs(rows[mine], columns[mine], len(user_ids), len(item_ids))
            )
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


def _sorted(ids: pa.ChunkedArray) -> pa.Array:
    different = pc.unique(ids)
    return different.take(pc.sort_indices(different))
