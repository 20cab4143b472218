"""A whole store as one Arrow table, or the vectors of a modality as one matrix.

The memory that Parquet was read into is shared where that is possible. Vectors are copied, once
and row group by row group, where there are several row groups, as mmx itself writes them, and
where another tool wrote them as lists of any length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from mmx.cache.decoding import opened, read_group
from mmx.cache.schema import DTYPES
from mmx.cache.seal import read_footer
from mmx.cache.store import Store
from mmx.errors import StoreError, suggestion


def table_of(store: Store, columns: Sequence[str] | None = None) -> pa.Table:
    """All rows, in the store's order; pages are compared with their checksums.

    Raises StoreError for a column that the store does not have, and DamagedError.
    """
    return pa.concat_tables(_groups(store, columns))


def matrix_of(store: Store, modality: str) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of all rows: (n, d) in the store's own type, zero where there is none; (n,) bool.

    The second says where there is a vector. A store of one row group, whose vectors are lists of
    one length, is not copied. Raises StoreError and DamagedError.
    """
    d = store.card.dimensions[modality]
    matrix, present = np.zeros((0, d), store.dtype), np.zeros(store.rows, bool)
    start = 0
    for group in _groups(store, [modality]):
        for chunk in group[modality].chunks:
            if len(chunk) == store.rows and (shared := _shared(chunk, d, store.dtype)):
                return shared
            if not start:
                matrix = np.zeros((store.rows, d), store.dtype)
            there = start + np.flatnonzero(_is_valid(chunk))
            values = chunk.flatten().to_numpy(zero_copy_only=False)
            matrix[there], present[there] = values.reshape(len(there), d), True
            start += len(chunk)
    return matrix, present


def _groups(store: Store, columns: Sequence[str] | None) -> Iterator[pa.Table]:
    for file in store.files:
        with opened(file, read_footer(file)[0]) as source:
            names = source.schema_arrow.names
            for name in columns or ():
                if name not in names:
                    raise StoreError(f"{file} has no column {name}{suggestion(name, names)}")
            for group in range(source.num_row_groups):
                yield read_group(source, group, columns)
            if not source.num_row_groups:
                yield source.schema_arrow.empty_table().select(list(columns or names))


def _shared(chunk: pa.Array, d: int, dtype: str) -> tuple[np.ndarray, np.ndarray] | None:
    """The matrix in the memory of the Arrow array; None where it is not in there as a whole."""
    if not pa.types.is_fixed_size_list(chunk.type) or chunk.type.value_type != DTYPES[dtype]:
        return None
    buffer, kind = chunk.values.buffers()[1], np.dtype(dtype)
    first = (chunk.offset * d + chunk.values.offset) * kind.itemsize
    matrix = np.frombuffer(buffer, kind, len(chunk) * d, first).reshape(len(chunk), d)
    present = _is_valid(chunk)
    gaps = matrix[~present]
    return None if gaps.any() else (matrix, present)  # what a gap holds, Arrow does not say


def _is_valid(chunk: pa.Array) -> np.ndarray:
    return np.array(chunk.is_valid().to_numpy(zero_copy_only=False))
