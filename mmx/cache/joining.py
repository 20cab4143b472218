"""Find the rows of a store's file by item id."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmx.cache.decoding import read_columns, read_group


def by_id(
    file: pq.ParquetFile, modality: str, d: int, ids: pa.Array
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Vectors of those of the distinct ``ids`` that the file has, and their places in ``ids``.

    (k,) int64 places and (k, d) vectors for each row group, one of which is in memory; those
    with none of the ids are not read.
    """
    have = read_columns(file, ["item_id"])["item_id"].cast(pa.string())
    place = pc.fill_null(pc.index_in(have, value_set=ids), -1).to_numpy().astype(np.int64)
    start = 0
    for group in range(file.num_row_groups):
        stop = start + file.metadata.row_group(group).num_rows
        if (place[start:stop] >= 0).any():
            column = read_group(file, group, [modality])[modality]
            yield from _vectors(column, d, place[start:stop])
        start = stop


def _vectors(
    column: pa.ChunkedArray, d: int, place: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for chunk in column.chunks:
        here, place = place[: len(chunk)], place[len(chunk) :]
        here = here[chunk.is_valid().to_numpy(zero_copy_only=False)]
        vectors = chunk.flatten().to_numpy(zero_copy_only=False).reshape(len(here), d)
        wanted = here >= 0
        yield (here, vectors) if wanted.all() else (here[wanted], vectors[wanted])
