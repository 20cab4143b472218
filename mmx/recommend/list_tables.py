"""Ranked lists as tables with external ids: (user_id, rank, item_id, score), best first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmx.data.vocabulary import Vocabulary
from mmx.recommend.interactions import Interactions
from mmx.recommend.scoring import Ranking

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
    more: Callable[[Path], None],
    lists: Iterable[tuple[np.ndarray, Ranking]],
    data: Interactions,
    k: int,
) -> Callable[[Path], None]:
    """``more``, and a writer of ``lists.parquet`` from (n,) users after another and their lists.

    Where K is 0 there are no lists.
    """

    def write(folder: Path) -> None:
        more(folder)
        path = folder / "lists.parquet"
        with pq.ParquetWriter(path, pa.schema(KINDS), write_page_checksum=True) as writer:
            for users, found in lists:
                writer.write_table(table_of(found, data.users.externals(users), data.items))

    return write if k else more
