"""Pictures in a column of a Parquet table, read in bounded memory for row groups of any size.

A row group can hold gigabytes, so it is streamed a few rows at a time. The pipeline reads rows
nearly in order: a window of the last rows serves all its threads. Going back further reads the row
group from its start. The window and a page (1024 rows, unless the writer set another
``write_batch_size``) must fit into memory.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmx.cache.schema import MISSING
from mmx.extract.reasons import ImageError, Reason
from mmx.extract.sources.paths import read_bytes
from mmx.extract.sources.source import Source
from mmx.files import Place, RemotePath, reaching

STEP = 16  # rows read at once
WINDOW = 64 << 20  # bytes of pictures kept, and at least those of LEAST rows
LEAST = 128
OBJECTS = 512  # bytes that a row takes besides, even without a picture


class RowImages(Source):
    """Reads ``#17``: the bytes of the column ``image`` in row 17 of a table."""

    def __init__(self, table: Place) -> None:
        self.table = table
        self._lock = threading.Lock()
        self._starts: list[int] | None = None  # first row of each row group, and the end
        self._file: Any = None
        self._stream: Iterator[pa.RecordBatch] = iter(())
        self._group, self._next = -1, 0  # the group in the stream, and its next row
        self._window: OrderedDict[int, Any] = OrderedDict()  # row → picture, the oldest first
        self._bytes = 0  # of the window

    def __reduce__(self) -> tuple[type[RowImages], tuple[Place]]:
        return RowImages, (self.table,)

    def __call__(self, image: str, /) -> bytes:
        """The encoded picture."""
        data, path = self.picture(image)
        if data is not None:
            return data
        if path and not isinstance(self.table, RemotePath):
            return read_bytes(self.table.parent, path)
        raise ImageError(MISSING)

    def picture(self, image: str) -> tuple[bytes | None, str | None]:
        """The bytes in the row, and the path that it has next to them or instead."""
        with self._lock:
            try:
                with reaching(self.table):
                    found = self._row(int(image.removeprefix("#")))
            except (pa.ArrowException, OSError, LookupError) as error:
                self._group = -1
                raise ImageError(Reason.NO_ROW, error) from error
        path = None
        if isinstance(found, dict):
            found, path = found["bytes"], found.get("path")
        return None if found is None else bytes(found), path

    def _row(self, row: int) -> Any:
        if row not in self._window:
            self._seek(row)
            while row not in self._window:
                self._advance()
        return self._window[row]

    def _seek(self, row: int) -> None:
        """Put the stream into the row's group, at or before the row."""
        if self._starts is None:
            source = self.table.open() if isinstance(self.table, RemotePath) else self.table
            self._file = pq.ParquetFile(source, pre_buffer=False, buffer_size=1 << 20)
            footer = self._file.metadata
            counts = (footer.row_group(n).num_rows for n in range(footer.num_row_groups))
            self._starts = list(accumulate(counts, initial=0))
        group = bisect_right(self._starts, row) - 1
        if group != self._group or row < self._next:
            self._group, self._next = group, self._starts[group]
            self._stream = self._file.iter_batches(
                batch_size=STEP, row_groups=[group], columns=["image"], use_threads=False
            )

    def _advance(self) -> None:
        """Take the next step of the stream into the window, and the oldest rows out."""
        batch = next(self._stream, None)
        if batch is None:
            raise LookupError("the table has no such row")
        for picture in batch["image"].to_pylist():
            if self._next in self._window:  # the group is read again
                self._bytes -= _size(self._window.pop(self._next))
            self._bytes += _size(picture)
            self._window[self._next] = picture
            self._next += 1
        while self._bytes > WINDOW and len(self._window) > LEAST:
            self._bytes -= _size(self._window.popitem(last=False)[1])


def _size(picture: Any) -> int:
    data = picture["bytes"] if isinstance(picture, dict) else picture
    return len(data or b"") + OBJECTS
