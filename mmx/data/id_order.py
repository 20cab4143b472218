"""An arbitrary order of ids, by a keyed hash of each.

Used wherever something is drawn or ordered without a reason: equal scores, random splits, the
numbers of users and items. It depends only on the ids and a seed, never on the order of a file,
and is the same on every machine and with every version.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa

OVERFLOW = 2**31 - 1  # bytes that the offsets of a string column reach
WIDE = {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()}


def hashes(ids: pa.Array | pa.ChunkedArray, seed: int = 0) -> np.ndarray:
    """(n,) uint64 of n ids that are text: BLAKE2b of 8 bytes, keyed by the seed."""
    key = str(seed).encode()
    digests = [
        hashlib.blake2b(value.encode(), digest_size=8, key=key).digest()
        for value in ids.to_pylist()
    ]
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def hash_order(ids: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """(n,) places of n ids in their order by hash."""
    return np.argsort(hashes(ids), kind="stable")  # two of ten million ids collide once in 400,000


def pair_hashes(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(n,) uint64 of n pairs of hashes; the two sides do not swap.

    The finaliser of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
    Generators", OOPSLA 2014).
    """
    mixed = left * np.uint64(0x9E3779B97F4A7C15) + right
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def reordered(table: pa.Table, rows: np.ndarray) -> pa.Table:
    """The rows of a table in another order; texts beyond 2 GiB become ``large_string``."""
    for place, field in enumerate(table.schema):
        if field.type in WIDE and table.column(place).nbytes > OVERFLOW:
            wide = table.column(place).cast(WIDE[field.type])
            table = table.set_column(place, field.with_type(wide.type), wide)
    return table.take(pa.array(rows))
