"""Encode one block of items: batches of pictures as they arrive, then texts by length."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np
import pyarrow as pa

from mmx.cache.schema import OK
from mmx.extract.encoder import TextBatch
from mmx.extract.stages.batches import Batch
from mmx.extract.stages.load import Loaded
from mmx.extract.stages.passes import Lanes, Passes


class BlockEncoder:
    """Encodes the rows of one block and collects its columns.

    ``feed`` starts the passes; ``table`` waits for them, in the thread that calls it.
    """

    def __init__(self, passes: Passes, lanes: Lanes, tokenizer: ThreadPoolExecutor, rows: int):
        self.passes, self.lanes, self.tokenizer = passes, lanes, tokenizer
        self.dimensions = passes.dimensions
        self.items: list[Loaded] = []
        self.rows = rows
        self.found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {
            m: [] for m in self.dimensions
        }
        self.tokens = np.zeros(rows, dtype=np.int32)
        self.truncated = np.zeros(rows, dtype=bool)
        self.running: list[Future[None]] = []

    def feed(self, batches: Iterator[Batch], batch_size: int) -> Iterator[int]:
        """Take this block's batches and start their passes; yields the rows of each."""
        while len(self.items) < self.rows:
            batch = next(batches)
            self.items += batch.items
            self._pictures(batch)
            yield len(batch.items)
        self._texts(batch_size)

    def table(self, ids: pa.Array, schema: pa.Schema) -> pa.Table:
        """The finished block; raises the error of a pass."""
        for future in self.running:
            future.result()
        return as_table(ids, self._columns(), schema)

    def _pictures(self, batch: Batch) -> None:
        """Start the image pass of a batch, and the fused one where there is text."""
        if batch.pixels is None:
            batch.release()
            return
        both = [i for i, row in enumerate(batch.rows) if self.items[row].text is not None]
        texts = [str(self.items[batch.rows[i]].text) for i in both]
        tokens = None
        if "fused" in self.dimensions and both:
            tokens = self.tokenizer.submit(self.passes.encoder.tokenize, texts)
        self._start(partial(self._encode_pictures, batch, both, texts, tokens))

    def _encode_pictures(
        self, batch: Batch, both: list[int], texts: list[str], tokens: Future[TextBatch] | None
    ) -> None:
        assert batch.pixels is not None
        rows = np.array(batch.rows)
        if "image" in self.dimensions:
            self.found["image"].append((rows, self.passes.image(batch.pixels)))
        if tokens is not None:
            pixels = batch.pixels if len(both) == len(rows) else batch.pixels[both]
            vectors = self.passes.fused(pixels, texts, tokens.result())
            self.found["fused"].append((rows[both], vectors))
        batch.release()

    def _texts(self, batch_size: int) -> None:
        """Start the text passes, batched by length so that little is padded."""
        rows = [row for row, item in enumerate(self.items) if item.text is not None]
        rows.sort(key=lambda row: len(str(self.items[row].text)))
        for start in range(0, len(rows), batch_size):
            group = rows[start : start + batch_size]
            texts = [str(self.items[row].text) for row in group]
            tokens = self.tokenizer.submit(self.passes.encoder.tokenize, texts)
            self._start(partial(self._encode_texts, group, texts, tokens))

    def _encode_texts(self, rows: list[int], texts: list[str], tokens: Future[TextBatch]) -> None:
        batch = tokens.result()
        self.tokens[rows], self.truncated[rows] = batch.count, batch.truncated
        if "text" in self.dimensions:
            self.found["text"].append((np.array(rows), self.passes.text(texts, batch)))

    def _start(self, run: partial[None]) -> None:
        self.running.append(self.lanes.submit(run))

    def _columns(self) -> dict[str, object]:
        """The block's columns by name; vectors as (row numbers, (n, d) array)."""
        columns: dict[str, object] = {
            "image_status": [item.image_status for item in self.items],
            "text_status": [item.text_status for item in self.items],
            "fused_status": [_fused_status(item) for item in self.items],
            "text_tokens": [int(n) if n else None for n in self.tokens],
            "text_truncated": [
                bool(t) if n else None for t, n in zip(self.truncated, self.tokens, strict=True)
            ],
            "content_hash": [item.hash for item in self.items],
        }
        return columns | dict(self.found)


def _fused_status(item: Loaded) -> str:
    reasons = [
        f"no {name}: {status}"
        for name, status in (("image", item.image_status), ("text", item.text_status))
        if status != OK
    ]
    return "; ".join(reasons) or OK


def as_table(ids: pa.Array, columns: dict[str, object], schema: pa.Schema) -> pa.Table:
    """Columns of a block as a table of the store's schema."""
    arrays = []
    for column in schema:
        if column.name == "item_id":
            arrays.append(ids)
        elif pa.types.is_fixed_size_list(column.type):
            arrays.append(_vector_array(columns[column.name], len(ids), column.type))
        else:
            arrays.append(pa.array(columns[column.name], column.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _vector_array(found: object, rows: int, kind: pa.FixedSizeListType) -> pa.Array:
    """Scattered (row numbers, vectors) pairs as one column with nulls elsewhere."""
    matrix = np.zeros((rows, kind.list_size), dtype=kind.value_type.to_pandas_dtype())
    absent = np.ones(rows, dtype=bool)
    for places, vectors in found:  # type: ignore[attr-defined]
        matrix[places], absent[places] = vectors, False
    values = pa.array(matrix.ravel(), kind.value_type)
    return pa.FixedSizeListArray.from_arrays(values, type=kind, mask=pa.array(absent))
