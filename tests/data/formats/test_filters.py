"""The filters in SQL leave out what ``mmx.data.splits`` leaves out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mmx.data.formats.filters import filtered
from mmx.data.formats.workspace import Workspace
from mmx.data.splits import first_of_each_pair, k_core
from mmx.errors import DataError


def random_table(seed: int) -> pa.Table:
    """A log with repeated pairs and equal times."""
    rng = np.random.default_rng(seed)
    users, items = rng.integers(0, 25, 300), rng.integers(0, 19, 300)
    return pa.table(
        {
            "user_id": [f"u{u}" for u in users],
            "item_id": [f"i{i}" for i in items],
            "rating": rng.integers(1, 6, 300).astype(float),
            "timestamp": rng.integers(0, 8, 300),
        }
    )


def in_sql(folder: Path, table: pa.Table, **rule: object) -> tuple[list[str], pa.Table]:
    """What was left out, and what is left in its order."""
    with Workspace(folder) as work:
        work.db.register("given", table)
        work.query("log", "select * from given")
        settings = {"min_rating": None, "duplicates": "earliest", "k_core": 0, **rule}
        lost = [str(what) for what in filtered(work, **settings)]  # type: ignore[arg-type]
        return lost, work.db.sql(
            "select * exclude (mmx_n) from log order by mmx_n"
        ).to_arrow_table()


@pytest.mark.parametrize("seed", range(3))
def test_the_same_is_left(tmp_path: Path, seed: int) -> None:
    table = random_table(seed)
    rated = table.filter(pa.compute.greater_equal(table["rating"], 2))
    wanted = k_core(first_of_each_pair(rated), 6)
    lost, found = in_sql(tmp_path / "w", table, min_rating=2, k_core=6)
    assert found.to_pylist() == wanted.to_pylist()
    names = ["--min-rating 2", "repeated pairs, the earliest kept", "--k-core 6"]
    assert [line.partition(":")[0] for line in lost] == names


def test_the_latest_and_all(tmp_path: Path) -> None:
    table = pa.table({
        "user_id": ["u"] * 4, "item_id": ["a", "a", "a", "b"], "timestamp": [3, 9, 9, 1],
    })  # fmt: skip
    _, found = in_sql(tmp_path / "1", table, duplicates="latest")
    assert found["timestamp"].to_pylist() == [9, 1]
    lost, found = in_sql(tmp_path / "2", table, duplicates="all")
    assert (lost, len(found)) == ([], 4)
    rated = table.rename_columns(["user_id", "item_id", "rating"])
    _, found = in_sql(tmp_path / "3", rated.slice(0, 2), duplicates="latest")
    assert found["rating"].to_pylist() == [9]  # without times by place
    _, found = in_sql(tmp_path / "4", rated.slice(0, 2))
    assert found["rating"].to_pylist() == [3]


def test_of_equal_times_the_training_row_stays(tmp_path: Path) -> None:
    table = pa.table({
        "user_id": ["u"] * 3, "item_id": ["a"] * 3, "timestamp": [1] * 3,
        "split": ["test", "train", "valid"],
    })  # fmt: skip
    assert in_sql(tmp_path / "w", table)[1]["split"].to_pylist() == ["train"]


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--k-core 99 leaves no interaction"):
        in_sql(tmp_path / "1", random_table(0), k_core=99)
    with pytest.raises(DataError, match="--min-rating 9 leaves no interaction"):
        in_sql(tmp_path / "2", random_table(0), min_rating=9)
    with pytest.raises(DataError, match="--min-rating needs ratings"):
        in_sql(tmp_path / "3", random_table(0).drop_columns(["rating"]), min_rating=1)


@pytest.mark.parametrize("duplicates", ["earliest", "latest"])
def test_weights_of_repeated_pairs_add_up(tmp_path: Path, duplicates: str) -> None:
    weights = np.random.default_rng(0).choice([0.1, 0.7, 10.0], 300)
    table = random_table(0).append_column("weight", pa.array(weights))
    (said,), found = in_sql(tmp_path / "1", table, duplicates=duplicates)
    assert said.startswith(f"repeated pairs, the {duplicates} kept, weights added up")
    sums = table.group_by(["user_id", "item_id"]).aggregate([("weight", "sum")])
    expected = {(row["user_id"], row["item_id"]): row["weight_sum"] for row in sums.to_pylist()}
    assert len(found) == len(expected)
    for row in found.to_pylist():
        assert row["weight"] == pytest.approx(expected[row["user_id"], row["item_id"]])
    given = pa.table({
        "user_id": ["u"] * 4, "item_id": ["a"] * 4, "split": ["test", "train", "train", "valid"],
        "weight": [9.0, 1.0, 2.0, 9.0],
    })  # fmt: skip
    _, found = in_sql(tmp_path / "2", given, duplicates=duplicates)
    assert found.select(["split", "weight"]).to_pylist() == [{"split": "train", "weight": 3.0}]
