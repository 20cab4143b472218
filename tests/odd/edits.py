"""A run of which a file says something else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.torch import load_file, save_file

Change = Callable[[Any], Any]


def copied(run: Path, folder: Path) -> Path:
    """The run without its checksums, which anyone who edits a run would delete too."""
    path = folder / "edited"
    shutil.copytree(run, path)
    edit_json(path / "config.json", lambda config: {**config, "sha256": {}})
    return path


def edit_json(path: Path, change: Change) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def edit_table(path: Path, change: Change) -> None:
    table = change(pq.read_table(path))
    path.unlink()
    pq.write_table(table, path)


def edit_tensors(path: Path, change: Change) -> None:
    tensors = {name: tensor.contiguous() for name, tensor in change(load_file(path)).items()}
    path.unlink()
    save_file(tensors, path)


def with_column(name: str, column: Callable[[pa.Table], pa.Array]) -> Change:
    return lambda table: table.set_column(table.column_names.index(name), name, column(table))
