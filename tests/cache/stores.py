"""Stores of random vectors with gaps, for tests of what is done to whole stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mmx.atomic import claimed
from mmx.cache.card import EncoderCard
from mmx.cache.kind import STORE
from mmx.cache.merge import merge, write_store
from mmx.cache.schema import metadata, store_schema
from mmx.cache.store import Store, open_store

CARD = EncoderCard("fake", "mmx", "fake", "none", {"image": 3, "text": 2}, False, "float32")


def rows_of(
    ids: list[str], seed: int = 0, card: EncoderCard = CARD, dtype: str = "float32"
) -> dict:
    """A store's columns: every seventh item has no image, every fifth no text."""
    generator = np.random.default_rng(seed)
    columns: dict[str, list] = {"item_id": ids}
    columns |= {f"{modality}_status": ["ok"] * len(ids) for modality in ("image", "text")}
    for modality, d in card.dimensions.items():
        gap = {"image": 7, "text": 5}.get(modality, 3)
        vectors = generator.normal(size=(len(ids), d)).astype(dtype)
        there = [n % gap != 1 for n in range(len(ids))]
        columns[modality] = [list(v) if t else None for v, t in zip(vectors, there, strict=True)]
        reason = "corrupt" if modality == "image" else "missing"
        columns[f"{modality}_status"] = ["ok" if t else reason for t in there]
    columns["text_tokens"] = [None if n % 5 == 1 else n for n in range(len(ids))]
    columns["text_truncated"] = [None if n % 5 == 1 else n % 2 == 0 for n in range(len(ids))]
    columns["content_hash"] = [f"hash of {name}" for name in ids]
    return columns


def make_store(
    path: Path,
    ids: list[str] | int = 20,
    *,
    seed: int = 0,
    card: EncoderCard = CARD,
    dtype: str = "float32",
    block: int = 4,
    max_file_rows: int | None = None,
    **columns: list,
) -> Store:
    """Items i0, i1 … or the ids given; ``columns`` replace those of ``rows_of``."""
    names = [f"i{n}" for n in range(ids)] if isinstance(ids, int) else ids
    values = rows_of(names, seed, card, dtype) | columns
    schema = store_schema(card, dtype)
    table = pa.table({name: values[name] for name in schema.names}, schema=schema)
    facts = schema.with_metadata(metadata(card, dtype, "fingerprint"))
    with claimed(path, STORE, overwrite=True) as target:
        write_store(target, [table], len(names), facts, block=block, max_file_rows=max_file_rows)
    return open_store(path)


def merge_at(path: Path, *arguments: Any, **options: Any) -> None:
    """``merge`` to a path, over a store that may be there."""
    with claimed(path, STORE, overwrite=True) as target:
        merge(target, *arguments, **options)


def rows(store: Store) -> list[dict]:
    """All rows as Python values, in the store's order."""
    return [row for batch in store.batches() for row in batch.to_pylist()]


def names(folder: Path) -> list[str]:
    """What is in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())
