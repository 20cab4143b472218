"""Gather finished rows from any files into one store, in bounded memory.

A small store is one file; above a limit it is a folder of files under the same name:

    cache/clip.parquet/part-00000.parquet
    cache/clip.parquet/part-00001.parquet …

Each file carries the metadata, and how many rows the whole store has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise

import numpy as np
import pyarrow as pa

from mmx.atomic import Claim
from mmx.cache.decoding import opened, read_columns, read_group
from mmx.cache.parts import vector_writer
from mmx.cache.seal import read_footer
from mmx.files import Place

MAX_FILE_ROWS = 1_000_000
MAX_FILE_BYTES = 2 << 30  # of vectors
WINDOW_BYTES = 128 << 20  # of vectors gathered at once; shuffled, thrice that in memory
ROW_GROUP = 512  # rows, where the caller has no block size of its own


class RowSource:
    """Rows of several Parquet files under one numbering, read by row group when needed.

    Keeps no file open and one row group in memory. What is read is compared with its checksums;
    raises DamagedError when a file is not what was written, StoreError when it is unreadable.
    """

    def __init__(self, paths: Sequence[Place], schema: pa.Schema) -> None:
        self.paths, self.schema = list(paths), schema
        self._footers = [read_footer(path)[0] for path in self.paths]
        counts = [f.row_group(g).num_rows for f in self._footers for g in range(f.num_row_groups)]
        self._groups = [(n, g) for n, f in enumerate(self._footers)
                        for g in range(f.num_row_groups)]  # fmt: skip
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._last: tuple[int, pa.Table] = (-1, schema.empty_table())

    def __len__(self) -> int:
        return int(self._starts[-1])

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Some columns of all rows."""
        empty = self.schema.empty_table().select(list(names))
        tables = [empty]
        for path, footer in zip(self.paths, self._footers, strict=True):
            with opened(path, footer) as file:
                tables.append(read_columns(file, names).cast(empty.schema))
        return pa.concat_tables(tables)

    def take(self, rows: np.ndarray) -> pa.Table:
        """The rows with these numbers, in this order; each row group they are in is read once."""
        group = np.searchsorted(self._starts, rows, side="right") - 1
        order = np.argsort(group, kind="stable")
        parts = []
        for g, mine in _runs(group[order], order):
            parts.append(_picked(self._group(g), rows[mine] - self._starts[g]))
        gathered = pa.concat_tables([self.schema.empty_table(), *parts])
        if (order == np.arange(len(rows))).all():
            return gathered
        place = np.empty(len(rows), dtype=np.int64)
        place[order] = np.arange(len(rows))
        return gathered.combine_chunks().take(pa.array(place))

    def close(self) -> None:
        """Release the row group in memory."""
        self._last = (-1, self.schema.empty_table())

    def _group(self, number: int) -> pa.Table:
        if number != self._last[0]:
            n, group = self._groups[number]
            with opened(self.paths[n], self._footers[n]) as file:
                table = read_group(file, group, self.schema.names)
                self._last = number, table.cast(self.schema)
        return self._last[1]


def merge(
    target: Claim,
    source: RowSource,
    rows: np.ndarray,
    metadata: dict[str, str],
    *,
    block: int,
    progress: Callable[[int], None] = lambda done: None,
    max_file_rows: int | None = None,
    max_file_bytes: int | None = None,
) -> None:
    """Write ``rows`` of ``source`` as the store, in row groups of ``block`` rows, atomically.

    Above ``max_file_rows`` rows or ``max_file_bytes`` bytes of vectors (MAX_FILE_ROWS and
    MAX_FILE_BYTES when None) the store is a folder of files. Raises TargetError when it cannot
    be written; what was there before is then untouched.
    """
    window = window_rows(rows, source.schema, block)
    tables = (source.take(rows[at : at + window]) for at in range(0, len(rows), window))
    write_store(
        target, tables, len(rows), source.schema.with_metadata(metadata), block=block,
        progress=progress, max_file_rows=max_file_rows, max_file_bytes=max_file_bytes,
    )  # fmt: skip


def write_store(
    target: Claim,
    tables: Iterable[pa.Table],
    rows: int,
    schema: pa.Schema,
    *,
    block: int = ROW_GROUP,
    progress: Callable[[int], None] = lambda done: None,
    max_file_rows: int | None = None,
    max_file_bytes: int | None = None,
) -> None:
    """Write ``tables``, ``rows`` rows in all, as a store; see ``merge``.

    ``schema`` carries the store's metadata.
    """
    block, limit = _sizes(schema, block, max_file_rows, max_file_bytes)
    many = rows > limit
    if many:
        schema = schema.with_metadata({**(schema.metadata or {}), b"mmx.rows": str(rows).encode()})
    with target.filled(folder=many) as temporary, ExitStack() as stack:
        done, number, room = 0, 0, 0  # rows written, files begun, rows left in the open file
        for table in _blocks(tables, block, schema):
            if number == 0 or (many and table.num_rows > room):
                stack.close()
                path = temporary / f"part-{number:05d}.parquet" if many else temporary
                writer = stack.enter_context(vector_writer(path, schema))
                number, room = number + 1, limit
            writer.write_table(table, row_group_size=block)
            done, room = done + table.num_rows, room - table.num_rows
            progress(done)
        stack.close()


def window_rows(rows: np.ndarray, schema: pa.Schema, block: int = ROW_GROUP) -> int:
    """How many rows to take at once: few when they are in order, else what memory allows.

    Out of order, every window may read the whole source: the fewer, the better.
    """
    size = block * row_bytes(schema)
    ordered = bool((np.diff(rows) > 0).all())
    return max((WINDOW_BYTES // 16 if ordered else WINDOW_BYTES) // size, 1) * block


def _sizes(
    schema: pa.Schema, block: int, max_rows: int | None, max_bytes: int | None
) -> tuple[int, int]:
    """Rows of a row group, and rows of a file, which ends where a row group ends."""
    limit = (max_bytes or MAX_FILE_BYTES) // row_bytes(schema)
    limit = max(min(limit, max_rows or MAX_FILE_ROWS), 1)
    block = min(block, limit)
    return block, limit // block * block


def row_bytes(schema: pa.Schema) -> int:
    """Bytes of one row's vectors, at least 1."""
    vectors = [f.type for f in schema if pa.types.is_fixed_size_list(f.type)]
    return max(sum(t.list_size * t.value_type.bit_width // 8 for t in vectors), 1)


def _blocks(tables: Iterable[pa.Table], block: int, schema: pa.Schema) -> Iterator[pa.Table]:
    """The tables in slices of ``block`` rows; one empty slice where there are no rows."""
    empty = True
    for table in tables:
        for start in range(0, table.num_rows, block):
            empty = False
            rows = table.slice(start, block).combine_chunks()  # same bytes whatever the chunks
            yield rows.replace_schema_metadata(schema.metadata)
    if empty:
        yield schema.empty_table()


def _picked(table: pa.Table, rows: np.ndarray) -> pa.Table:
    """Rows of a table; without a copy where they follow each other."""
    if (np.diff(rows) == 1).all():
        return table.slice(int(rows[0]), len(rows))
    return table.take(pa.array(rows))


def _runs(keys: np.ndarray, values: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """``values`` cut where the sorted ``keys`` change, with the key of each run."""
    edges = [0, *(np.flatnonzero(np.diff(keys)) + 1).tolist(), len(keys)]
    for start, stop in pairwise(edges):
        if stop > start:
            yield int(keys[start]), values[start:stop]
