"""The parts of a split, and ids and rows as numbers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmx.data.id_order import hashes, pair_hashes

TRAIN, VALID, TEST, FOLD_IN = 0, 1, 2, 3
NAMES = ("train", "valid", "test", "fold-in")  # the last: what is known of a held-out user


def codes(column: pa.ChunkedArray) -> np.ndarray:
    """Ids as numbers in order of first appearance."""
    encoded = column.combine_chunks().dictionary_encode()
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def times_of(table: pa.Table) -> np.ndarray:
    """(rows,) timestamps."""
    return table["timestamp"].to_numpy()


def part_numbers(table: pa.Table) -> np.ndarray:
    """TRAIN, VALID or TEST of each row; all alike where the table does not say."""
    if "split" not in table.column_names:
        return np.zeros(table.num_rows, dtype=np.int64)
    return pc.index_in(table["split"], pa.array(NAMES)).to_numpy()


def places(users: np.ndarray, key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per row: how many rows its user has, and its place among them by rising key."""
    order = np.lexsort((key, users))
    counts = np.bincount(users)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    place = np.empty(len(users), dtype=np.int64)
    place[order] = np.arange(len(users)) - starts[users[order]]
    return counts[users], place


def by_time(times: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """(rows,) float64 ranks by time; equal times are drawn."""
    rank = np.empty(len(times))
    rank[np.lexsort((drawn, times))] = np.arange(len(times))
    return rank


def drawn_rows(table: pa.Table, seed: int) -> np.ndarray:
    """A number for each row by which to draw: (rows,) uint64 of the seed and the two ids."""
    return pair_hashes(*(id_hashes(table[name], seed) for name in ("user_id", "item_id")))


def id_hashes(column: pa.ChunkedArray, seed: int) -> np.ndarray:
    """(rows,) hashes, each different id hashed once."""
    encoded = column.combine_chunks().dictionary_encode()
    return hashes(encoded.dictionary, seed)[encoded.indices.to_numpy(zero_copy_only=False)]
