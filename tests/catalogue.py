"""Small datasets for tests: pictures of one colour, texts one can count, odd rows on demand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def write_items(directory: Path, rows: list[dict], **columns: list) -> Path:
    """items.parquet from rows with item_id, image, text."""
    directory.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "item_id": pa.array([row["item_id"] for row in rows], pa.string()),
            "image": pa.array([row.get("image") for row in rows], pa.string()),
            "text": pa.array([row.get("text") for row in rows], pa.string()),
            **columns,
        }
    )
    pq.write_table(table, directory / "items.parquet")
    return directory


def plain_catalogue(directory: Path, items: int = 40, size: int = 24) -> Path:
    """Items i0, i1 …: item n has a picture of colour (5n, 255 - 5n, 128) and n + 1 words."""
    (directory / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for n in range(items):
        colour = (5 * n % 256, (255 - 5 * n) % 256, 128)
        Image.new("RGB", (size, size), colour).save(directory / f"images/{n}.png")
        rows.append(
            {"item_id": f"i{n}", "image": f"images/{n}.png", "text": " ".join(["word"] * (n + 1))}
        )
    return write_items(directory, rows)


def write_interactions(directory: Path, pairs: list[tuple], **columns: list) -> None:
    """interactions.parquet from (user, item) pairs."""
    table = {"user_id": [str(u) for u, _ in pairs], "item_id": [str(i) for _, i in pairs]}
    pq.write_table(pa.table({**table, **columns}), directory / "interactions.parquet")


def random_log(users: int, items: int, each: int, seed: int = 0) -> list[tuple[str, str]]:
    """``each`` distinct items for every user, popular ones more often."""
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, items + 1)
    return [
        (f"u{u}", f"i{i}")
        for u in range(users)
        for i in rng.choice(items, size=each, replace=False, p=weights / weights.sum())
    ]
