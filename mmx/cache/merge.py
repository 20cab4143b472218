"""Gather finished rows, wherever they lie, into one store in the order of the items table."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmx.cache.files import replacing
from mmx.cache.parts import vector_writer

OPEN_GROUPS = 64  # row groups kept in memory while gathering


class RowSource:
    """Rows of several Parquet files under one numbering, read by row group when asked for."""

    def __init__(self, paths: Sequence[Path], schema: pa.Schema) -> None:
        self.files = [pq.ParquetFile(path) for path in paths]
        self.schema = schema
        groups = [(f, g) for f in self.files for g in range(f.metadata.num_row_groups)]
        self._groups = groups
        rows = [f.metadata.row_group(g).num_rows for f, g in groups]
        self._starts = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)
        self._open: OrderedDict[int, pa.Table] = OrderedDict()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Some columns of all rows."""
        empty = self.schema.empty_table().select(list(names))
        tables = [f.read(columns=list(names)).cast(empty.schema) for f in self.files]
        return pa.concat_tables([empty, *tables])

    def take(self, rows: np.ndarray) -> pa.Table:
        """The rows with these numbers, in this order."""
        group = np.searchsorted(self._starts, rows, side="right") - 1
        parts, place = [], np.empty(len(rows), dtype=np.int64)
        filled = 0
        for g in np.unique(group):
            mine = np.flatnonzero(group == g)
            parts.append(self._group(int(g)).take(pa.array(rows[mine] - self._starts[g])))
            place[mine] = filled + np.arange(len(mine))
            filled += len(mine)
        gathered = pa.concat_tables([self.schema.empty_table(), *parts]).combine_chunks()
        if (place == np.arange(len(rows))).all():
            return gathered
        return gathered.take(pa.array(place))

    def close(self) -> None:
        """Close the files."""
        for file in self.files:
            file.close()

    def _group(self, number: int) -> pa.Table:
        if number not in self._open:
            file, group = self._groups[number]
            self._open[number] = file.read_row_group(group).select(self.schema.names)
            self._open[number] = self._open[number].cast(self.schema)
            if len(self._open) > OPEN_GROUPS:
                self._open.popitem(last=False)
        self._open.move_to_end(number)
        return self._open[number]


def merge(
    store: Path,
    source: RowSource,
    rows: np.ndarray,
    metadata: dict[str, str],
    *,
    block: int,
    progress: Callable[[int], None] = lambda done: None,
) -> None:
    """Write ``rows`` of ``source`` as the store, ``block`` rows at a time, atomically."""
    schema = source.schema.with_metadata(metadata)
    with replacing(store) as temporary, vector_writer(temporary, schema) as writer:
        for start in range(0, max(len(rows), 1), block):
            table = source.take(rows[start : start + block])
            writer.write_table(table.replace_schema_metadata(metadata), row_group_size=block)
            progress(min(start + block, len(rows)))
