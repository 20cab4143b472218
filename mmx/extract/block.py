"""Encode one block of items: batches of pictures as they arrive, then texts by length."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa

from mmx.cache.schema import OK
from mmx.extract.encoder import Encoder, checked
from mmx.extract.inputs import Loaded


@dataclass
class Progress:
    """What the caller is told while extraction runs."""

    stage: str = "check"  # check, encode, merge
    done: int = 0  # items of this stage
    total: int = 0
    waiting: float = 0.0  # s the encoder stood idle for want of decoded items
    encoding: float = 0.0  # s the encoder ran

    @property
    def bottleneck(self) -> str:
        """Who the other one waits for."""
        return "decoding" if self.waiting > self.encoding else "encoding"


class BlockEncoder:
    """Encodes the rows of one block and collects its columns."""

    def __init__(
        self,
        encoder: Encoder,
        batch_size: int,
        state: Progress,
        progress: Callable[[Progress], None],
    ) -> None:
        self.encoder, self.batch_size = encoder, batch_size
        self.state, self.progress = state, progress
        self.dimensions = encoder.card.dimensions

    def run(self, loading: Iterator[Future[Loaded]], rows: int) -> dict[str, object]:
        """The block's columns by name; vectors as (row numbers, (n, d) array)."""
        self.found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {
            m: [] for m in self.dimensions
        }
        self.tokens = np.zeros(rows, dtype=np.int32)
        self.truncated = np.zeros(rows, dtype=bool)
        loaded: list[Loaded] = []
        waiting: list[int] = []  # rows with pixels that have not been encoded
        pixels: dict[int, np.ndarray] = {}
        for row in range(rows):
            item = self._next(loading)
            self.state.done += 1
            loaded.append(replace(item, pixels=None))  # a block's pixels are never all in memory
            if item.pixels is not None:
                waiting.append(row)
                pixels[row] = item.pixels
            if len(waiting) == self.batch_size or (row == rows - 1 and waiting):
                self._images(waiting, np.stack([pixels.pop(r) for r in waiting]), loaded)
                waiting = []
                self.progress(self.state)
        self._texts(loaded)
        self.progress(self.state)
        return self._columns(loaded)

    def _next(self, loading: Iterator[Future[Loaded]]) -> Loaded:
        start = time.perf_counter()
        item = next(loading).result()
        self.state.waiting += time.perf_counter() - start
        return item

    def _images(self, rows: list[int], pixels: np.ndarray, loaded: list[Loaded]) -> None:
        """The image pass of pixels (B, s, s, 3), and the fused one where there is text."""
        if "image" in self.dimensions:
            self._keep("image", rows, lambda: self.encoder.encode_image(pixels))
        if "fused" in self.dimensions:
            both = [i for i, row in enumerate(rows) if loaded[row].text is not None]
            if both:
                batch = self.encoder.tokenize([str(loaded[rows[i]].text) for i in both])
                paired = [rows[i] for i in both]
                self._keep("fused", paired, lambda: self.encoder.encode_fused(pixels[both], batch))

    def _texts(self, loaded: list[Loaded]) -> None:
        """The text pass, batched by length so that little is padded."""
        rows = [row for row, item in enumerate(loaded) if item.text is not None]
        rows.sort(key=lambda row: len(str(loaded[row].text)))
        for start in range(0, len(rows), self.batch_size):
            group = rows[start : start + self.batch_size]
            batch = self.encoder.tokenize([str(loaded[row].text) for row in group])
            self.tokens[group], self.truncated[group] = batch.count, batch.truncated
            if "text" in self.dimensions:
                self._keep("text", group, partial(self.encoder.encode_text, batch))

    def _keep(self, modality: str, rows: list[int], run: Callable[[], np.ndarray]) -> None:
        start = time.perf_counter()
        vectors = checked(
            run(), len(rows), self.dimensions[modality], f"{self.encoder.card.name} ({modality})"
        )
        self.state.encoding += time.perf_counter() - start
        self.found[modality].append((np.array(rows), vectors))

    def _columns(self, loaded: list[Loaded]) -> dict[str, object]:
        columns: dict[str, object] = {
            "image_status": [item.image_status for item in loaded],
            "text_status": [item.text_status for item in loaded],
            "fused_status": [_fused_status(item) for item in loaded],
            "text_tokens": [int(n) if n else None for n in self.tokens],
            "text_truncated": [
                bool(t) if n else None for t, n in zip(self.truncated, self.tokens, strict=True)
            ],
            "content_hash": [item.hash for item in loaded],
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
