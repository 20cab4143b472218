"""Cut the rows to encode into blocks. Pure functions of tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Block:
    """Rows that are encoded together and become one part."""

    number: int  # of the part
    rows: np.ndarray  # (n,) int64, ascending, numbers in the items table


def pending_blocks(encode: np.ndarray, size: int, first: int) -> list[Block]:
    """The rows where ``encode`` (items,) is True, grouped by fixed stretches of ``size`` items.

    Fixed, so that a continued run makes the same blocks as an undisturbed one. Parts are
    numbered from ``first``.
    """
    pending = np.flatnonzero(encode)
    edges = np.flatnonzero(np.diff(pending // size)) + 1
    groups = [group for group in np.split(pending, edges) if len(group)]
    return [Block(first + n, group) for n, group in enumerate(groups)]


BlockRows = tuple[int, pa.Table]  # a part's number; item_id, image and text of its rows


def with_rows(table: pa.Table, blocks: Sequence[Block]) -> Iterator[BlockRows]:
    """The blocks with their rows, cut when they are taken."""
    table = table.select(["item_id", "image", "text"])
    return ((block.number, rows_of(table, block.rows)) for block in blocks)


def rows_of(table: pa.Table, rows: np.ndarray) -> pa.Table:
    """Some rows of a table; without a copy where they are consecutive."""
    if len(rows) and rows[-1] - rows[0] + 1 == len(rows):
        return table.slice(int(rows[0]), len(rows))
    return table.take(pa.array(rows))


def pairs(table: pa.Table) -> Iterator[tuple[str | None, str | None]]:
    """Image and text of each row."""
    for batch in table.select(["image", "text"]).to_batches(max_chunksize=1024):
        yield from zip(batch["image"].to_pylist(), batch["text"].to_pylist(), strict=True)
