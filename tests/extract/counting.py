"""An extraction by the toy encoder, and one that counts what it is given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmx.data.dataset import load_items
from mmx.extract.encoder import Encoder, TextBatch
from mmx.extract.encoders import open_encoder
from mmx.extract.options import ExtractOptions, ExtractReport
from mmx.extract.pipeline import extract


class Counting(Encoder):
    """The toy encoder, counting what it is given."""

    def __init__(self, fail_after: int | None = None) -> None:
        self.inner: Encoder = open_encoder("toy")
        self.card, self.image_rule = self.inner.card, self.inner.image_rule
        self.images = self.texts = 0
        self.batches: list[int] = []
        self.fail_after = fail_after

    def encode_image(self, pixels: np.ndarray) -> np.ndarray:
        if self.fail_after is not None and self.images >= self.fail_after:
            raise KeyboardInterrupt
        self.images += len(pixels)
        self.batches.append(len(pixels))
        return self.inner.encode_image(pixels)

    def tokenize(self, texts: list[str]) -> TextBatch:
        return self.inner.tokenize(texts)

    def encode_text(self, batch: TextBatch) -> np.ndarray:
        self.texts += len(batch.count)
        return self.inner.encode_text(batch)

    def encode_fused(self, pixels: np.ndarray, batch: TextBatch) -> np.ndarray:
        raise NotImplementedError


def run(data: Path, out: Path, encoder: Encoder | None = None, **options: object) -> ExtractReport:
    chosen = ExtractOptions(**{"batch_size": 4, "part_size": 10, **options})  # type: ignore[arg-type]
    return extract(load_items(data), encoder or open_encoder("toy"), out, chosen)


def content(path: Path) -> pa.Table:
    return pq.read_table(path)
