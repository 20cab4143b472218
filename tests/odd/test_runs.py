"""Runs that something else wrote, or somebody edited: opened, or refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from mmx.cli.app import app
from mmx.errors import RunError
from mmx.recommend.fit import fit
from mmx.recommend.fuse import fuse
from mmx.recommend.job import TrainJob
from mmx.recommend.options import TrainOptions
from mmx.recommend.run import open_run
from tests.cli.conftest import Shop
from tests.odd.arrow_kinds import KINDS, WORDS
from tests.odd.edits import Change, copied, edit_json, edit_table, edit_tensors, with_column
from tests.odd.shop import items_table, log_table, write_shop


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One of factors, one of item weights, and the two together."""
    folder = tmp_path_factory.mktemp("runs")
    more = pa.table(
        {
            "user_id": [f"u{n}" for n in range(6) for _ in range(2)],
            "item_id": [WORDS[(n + m) % 6] for n in range(6) for m in (1, 2)],
            "split": ["train", "valid"] * 6,
        }
    )
    data = write_shop(folder / "data", items_table(), pa.concat_tables([log_table(), more]))
    bpr = TrainJob(data, "bpr", training=TrainOptions(epochs=1))
    made = {"factors": fit(bpr, folder / "factors").path}
    made["items"] = fit(TrainJob(data, "itemknn"), folder / "items").path
    made["fused"] = fuse([made["factors"], made["items"]], folder / "fused").path
    return made


TEXTS = {
    "a list": b"[]",
    "nothing": b"{}",
    "null": b"null",
    "a number": b"3",
    "a text": b'"a"',
    "cut off": b'{"format": 1,',
    "no text": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
    "empty": b"",
}


@pytest.mark.parametrize("file", ["config.json", "metrics.json"])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_json_of_another_shape(
    runs: dict[str, Path], tmp_path: Path, file: str, text: bytes
) -> None:
    run = copied(runs["items"], tmp_path)
    (run / file).write_bytes(text)
    with pytest.raises(RunError, match=r"is broken: .*; train it again|has run format"):
        open_run(run)


@pytest.mark.parametrize("found", ["1", 2, True, None, [1]])
def test_another_format(runs: dict[str, Path], tmp_path: Path, found: object) -> None:
    run = copied(runs["items"], tmp_path)
    edit_json(run / "config.json", lambda config: {**config, "format": found})
    with pytest.raises(RunError, match=r"has run format .*, this is 1; retrain"):
        open_run(run)


@pytest.mark.parametrize(
    "name", ["model", "settings", "data", "split", "features", "versions", "can", "scorer"]
)
def test_keys_of_another_kind(runs: dict[str, Path], tmp_path: Path, name: str) -> None:
    run = copied(runs["items"], tmp_path)
    config = json.loads((run / "config.json").read_text())
    for value in (None, 3, [3], True):
        (run / "config.json").write_text(json.dumps({**config, name: value}))
        with pytest.raises(RunError, match=rf"is broken: config.json has .*{name}"):
            open_run(run)
    del config[name]
    (run / "config.json").write_text(json.dumps(config))
    if name == "can":  # which the first runs lack
        open_run(run)
    elif name != "scorer":
        with pytest.raises(RunError, match=f"config.json has nothing for {name}"):
            open_run(run)


@pytest.mark.parametrize(
    "metrics",
    [
        {"valid": [], "test": {}, "counts": {}},
        {"test": {}, "counts": {}},
        {"valid": {"recall@20": "x"}, "test": {}, "counts": {}},
        {"valid": {}, "test": {"recall@20": [1]}, "counts": {}},
    ],
)
def test_metrics_of_another_shape(
    runs: dict[str, Path], tmp_path: Path, metrics: dict[str, Any]
) -> None:
    run = copied(runs["items"], tmp_path)
    (run / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(RunError, match=r"metrics.json is not numbers by name"):
        open_run(run)


def constant(width: int, value: float = 1.0) -> Callable[[pa.Table], pa.Array]:
    def column(table: pa.Table) -> pa.Array:
        numbers = pa.array(np.full(len(table) * width, value, np.float32))
        return pa.FixedSizeListArray.from_arrays(numbers, width)

    return column


def lists(value: Callable[[int], list[Any]]) -> Callable[[pa.Table], pa.Array]:
    return lambda table: pa.array([value(n) for n in range(len(table))])


EMBEDDINGS = {
    "another width": constant(3),
    "NaN": constant(65, float("nan")),
    "numbers": lambda table: pa.array(range(len(table))),
    "texts": lambda table: pa.array(["x"] * len(table)),
    "lists of texts": lists(lambda n: ["x"]),
    "ragged": lists(lambda n: [1.0] * (1 + n % 2)),
    "nulls": lambda table: pa.array([None, *table["embedding"].to_pylist()[1:]]),
    "null inside": lists(lambda n: [None, 1.0]),
    "empty": lists(lambda n: []),
}


@pytest.mark.parametrize("file", ["users.parquet", "items.parquet"])
@pytest.mark.parametrize("column", EMBEDDINGS.values(), ids=EMBEDDINGS)
def test_other_embeddings(
    runs: dict[str, Path], tmp_path: Path, file: str, column: Callable[[pa.Table], pa.Array]
) -> None:
    run = copied(runs["factors"], tmp_path)
    edit_table(run / file, with_column("embedding", column))
    with pytest.raises(RunError, match=r"is broken: .*embeddings"):
        open_run(run)


@pytest.mark.parametrize("kind", [pa.float64(), pa.float16()])
def test_embeddings_of_another_precision(
    runs: dict[str, Path], tmp_path: Path, kind: pa.DataType
) -> None:
    """As pandas or another tool writes them; they are cast."""
    run = copied(runs["factors"], tmp_path)
    for file in ("users.parquet", "items.parquet"):
        edit_table(
            run / file, with_column("embedding", lambda t: t["embedding"].cast(pa.list_(kind)))
        )
    fused = fuse([run, runs["items"]], tmp_path / "fused")
    assert fused.metrics["counts"] == open_run(runs["factors"]).metrics["counts"]


TABLES: dict[str, Change] = {
    "fewer rows": lambda table: table[:2],
    "no rows": lambda table: table[:0],
    "all rows twice": lambda table: pa.concat_tables([table, table]),
    "no columns": lambda table: table.select([]),
    "a column twice": lambda table: table.append_column("user_id", table.column(0)).append_column(
        "item_id", table.column(0)
    ),
    "no ids": lambda table: table.drop_columns([table.column_names[0]]),
    "null ids": lambda table: table.set_column(0, table.column_names[0], pa.nulls(len(table))),
    "ids of numbers": lambda table: table.set_column(
        0, table.column_names[0], pa.array(range(len(table)))
    ),
}


@pytest.mark.parametrize("run", ["factors", "items", "fused"])
@pytest.mark.parametrize("file", ["users.parquet", "items.parquet", "interactions.parquet"])
@pytest.mark.parametrize("change", TABLES.values(), ids=TABLES)
def test_other_tables(
    runs: dict[str, Path], tmp_path: Path, run: str, file: str, change: Change
) -> None:
    path = copied(runs[run], tmp_path)
    edit_table(path / file, change)
    if file == "interactions.parquet" and change in list(TABLES.values())[:3]:
        open_run(path)  # another history, and a sound one
    else:
        with pytest.raises(RunError, match=r"is broken: .*; train it again"):
            open_run(path)


TENSORS: dict[str, Change] = {
    "none": lambda tensors: {},
    "other names": lambda tensors: {f"x{name}": t for name, t in tensors.items()},
    "one row": lambda tensors: {name: t[:1] for name, t in tensors.items()},
    "numbers": lambda tensors: {name: torch.tensor(1.0) for name in tensors},
    "more axes": lambda tensors: {name: t[None, None] for name, t in tensors.items()},
    "NaN": lambda tensors: {
        name: t * float("nan") if t.is_floating_point() else t for name, t in tensors.items()
    },
    "truths": lambda tensors: {name: t > 0 for name, t in tensors.items()},
    "other items": lambda tensors: {
        name: t if t.is_floating_point() else t + 100 for name, t in tensors.items()
    },
}


@pytest.mark.parametrize("run", ["items", "fused"])
@pytest.mark.parametrize("change", TENSORS.values(), ids=TENSORS)
def test_other_tensors(runs: dict[str, Path], tmp_path: Path, run: str, change: Change) -> None:
    path = copied(runs[run], tmp_path)
    whole = all(t.is_floating_point() for t in load_file(path / "model.safetensors").values())
    edit_tensors(path / "model.safetensors", change)
    if change is TENSORS["other items"] and whole:
        open_run(path)  # a part that has no item numbers
    else:
        with pytest.raises(RunError, match=r"is broken: .*; train it again"):
            open_run(path)


@pytest.mark.parametrize(
    ("run", "record"),
    [
        ("items", {}),
        ("items", {"kind": 3}),
        ("items", {"kind": "item-item"}),
        ("items", {"kind": "item-item", "columns": "x"}),
        ("items", {"kind": "item-item", "columns": 10**12}),
        ("items", {"kind": "item-item", "columns": 2}),
        ("items", {"kind": "factors"}),
        ("fused", {"kind": "fused"}),
        ("fused", {"kind": "fused", "weights": [], "parts": []}),
        ("fused", {"kind": "fused", "weights": ["a"], "parts": [{"kind": "factors"}]}),
        ("fused", {"kind": "fused", "weights": [1.0, 2.0], "parts": [{"kind": "factors"}]}),
        ("fused", {"kind": "fused", "weights": None, "parts": 3}),
    ],
)
def test_another_scorer(
    runs: dict[str, Path], tmp_path: Path, run: str, record: dict[str, Any]
) -> None:
    path = copied(runs[run], tmp_path)
    edit_json(path / "config.json", lambda config: {**config, "scorer": record})
    with pytest.raises(RunError, match=r"is broken: .*; train it again"):
        open_run(path)


def test_on_the_command_line(runs: dict[str, Path], tmp_path: Path) -> None:
    run = copied(runs["factors"], tmp_path)
    edit_table(run / "users.parquet", with_column("embedding", constant(3)))
    line = Shop(tmp_path).refused("recommend", "edited", "--user", "u1")
    assert "users have embeddings of 3 numbers, items of 65" in line


def test_items_without_texts(runs: dict[str, Path], tmp_path: Path) -> None:
    """Of the items' columns only the ids are needed."""
    run = copied(runs["items"], tmp_path)
    edit_table(run / "items.parquet", lambda table: table.select(["item_id"]))
    assert CliRunner().invoke(app, ["recommend", str(run), "--user", "u1"]).exit_code == 0


@pytest.mark.parametrize("kind", KINDS)
def test_items_with_columns_of_any_type(runs: dict[str, Path], tmp_path: Path, kind: str) -> None:
    run = copied(runs["items"], tmp_path)
    edit_table(run / "items.parquet", lambda table: table.append_column("x", KINDS[kind]))
    assert open_run(run).items.column_names[-1] == "x"
