"""A store of three items with gaps, written by hand."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from mmx.cache.card import EncoderCard
from mmx.cache.parts import write_vectors
from mmx.cache.schema import metadata, store_schema

CARD = EncoderCard("fake", "mmx", "fake", "none", {"image": 3, "text": 2}, False, "float32")
IMAGE = [[1.0, 2.0, 3.0], None, [0.5, -1.0, 0.25]]
TEXT = [[1.0, 0.0], [0.0, 1.0], None]


def store(path: Path, *, dtype: str = "float32", **columns: list) -> Path:
    values = {
        "item_id": ["a", "b", "c"],
        "image": IMAGE,
        "text": TEXT,
        "image_status": ["ok", "file not found", "ok"],
        "text_status": ["ok", "ok", "missing"],
        "text_tokens": [3, 4, None],
        "text_truncated": [False, True, None],
        "content_hash": ["1", "2", "3"],
    } | columns
    schema = store_schema(CARD, dtype).with_metadata(metadata(CARD, dtype, "f"))
    write_vectors(pa.table(values, schema=schema), path)
    return path
