"""Ranked lists as tables with external ids: (user_id, rank, item_id, score), best first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmx.data.vocabulary import Vocabulary
from mmx.recommend.interactions import Interactions
from mmx.recommend.scoring import Ranking, Scorer, rank
from mmx.recommend.validation import evaluated_users

ROWS_AT_ONCE = 400_000  # of a table, at most unless one user has more
KINDS = {
    "user_id": pa.string(), "rank": pa.int32(), "item_id": pa.string(), "score": pa.float32(),
}  # fmt: skip


def table_of(found: Ranking, users: pa.Array, items: Vocabulary) -> pa.Table:
    """The lists of (n,) external user ids.

    Where there are fewer than K candidates the row is absent, never an id of -1.
    """
    shown = found.items >= 0
    rows, columns = np.nonzero(shown)
    ids = users.take(pa.array(rows)), items.externals(found.items[shown])
    values = (ids[0], columns + 1, ids[1], found.scores[shown])
    return pa.table(dict(zip(KINDS, values, strict=True)), schema=pa.schema(KINDS))


def with_lists(
    more: Callable[[Path], None], scorer: Scorer, data: Interactions, k: int
) -> Callable[[Path], None]:
    """``more``, and a writer of ``lists.parquet``: the K best of each test user, as evaluated.

    Where K is 0 there are no lists.
    """

    def write(folder: Path) -> None:
        more(folder)
        write_lists(folder / "lists.parquet", scorer, data, k)

    return write if k else more


def write_lists(path: Path, scorer: Scorer, data: Interactions, k: int) -> None:
    """The K best items of each test user; only training items are masked."""
    users = evaluated_users(data.test, data.known)
    step = max(1, ROWS_AT_ONCE // min(k, scorer.n_items))
    with pq.ParquetWriter(path, pa.schema(KINDS), write_page_checksum=True) as writer:
        for start in range(0, len(users), step):
            mine = users[start : start + step]
            found = rank(scorer, mine, k, data.known)
            writer.write_table(table_of(found, data.users.externals(mine), data.items))
