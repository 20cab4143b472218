"""Datasets and runs that have changed since a run was trained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def copied(made: Path, name: str, to: Path, **changes: Any) -> Path:
    """A run whose config.json says something else."""
    shutil.copytree(made / name, to)
    config = json.loads((to / "config.json").read_text()) | changes
    (to / "config.json").write_text(json.dumps(config))
    return to


def more_interactions(data: Path) -> None:
    log = pq.read_table(data / "interactions.parquet")
    pq.write_table(pa.concat_tables([log, log.slice(0, 1)]), data / "interactions.parquet")


def other_interactions(data: Path) -> None:
    log = pq.read_table(data / "interactions.parquet")
    users = log["user_id"].to_pylist()
    log = log.set_column(0, "user_id", pa.array(["u19", *users[1:]]))
    pq.write_table(log, data / "interactions.parquet")


def other_times(data: Path) -> None:
    log = pq.read_table(data / "interactions.parquet")
    pq.write_table(log.set_column(2, "timestamp", pa.array(list(range(180))[::-1])),
                   data / "interactions.parquet")  # fmt: skip


def reversed_rows(data: Path) -> None:
    for name in ("interactions", "items"):
        table = pq.read_table(data / f"{name}.parquet")
        pq.write_table(table.take(list(range(len(table)))[::-1]), data / f"{name}.parquet")


def weighted(data: Path) -> None:
    log = pq.read_table(data / "interactions.parquet")
    log = log.append_column("weight", pa.array([1.0, 2.0] * 90))
    pq.write_table(log, data / "interactions.parquet")


def fewer_items(data: Path) -> None:
    items = pq.read_table(data / "items.parquet")
    extra = items.slice(0, 1).set_column(0, "item_id", pa.array(["new"]))
    pq.write_table(pa.concat_tables([items, extra]), data / "items.parquet")
