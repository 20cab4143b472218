"""Nothing that is chosen looks at the test split: epochs, weights of a fusion."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mmx.errors import RunError
from mmx.recommend.fit import fit
from mmx.recommend.fuse import fuse
from mmx.recommend.job import TrainJob
from mmx.recommend.options import TrainOptions
from mmx.recommend.run import Run
from tests.catalogue import random_log, write_interactions, write_items


def dataset(path: Path, shift: int) -> Path:
    """Twenty users; ``shift`` moves the items of the test split, and nothing else."""
    write_items(path, [{"item_id": f"i{n}"} for n in range(30)])
    pairs, split = [], []
    for number, (user, item) in enumerate(random_log(20, 30, 10)):
        part = {0: "test", 1: "valid"}.get(number % 5, "train")
        moved = f"i{(int(item[1:]) + shift) % 30}" if part == "test" else item
        pairs.append((user, moved))
        split.append(part)
    kept = list(dict.fromkeys(zip(pairs, split, strict=True)))
    write_interactions(path, [pair for pair, _ in kept], split=[part for _, part in kept])
    return path


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> list[list[Run]]:
    """The same three runs of two datasets that differ in what is tested."""
    found = []
    for shift in (0, 7):
        path = tmp_path_factory.mktemp("twin")
        data = dataset(path / "data", shift)
        few = TrainOptions(epochs=12, batch_size=32, lr=0.05, patience=3, device="cpu")
        bpr = fit(TrainJob(data, "bpr", training=few), path / "bpr")
        ease = fit(TrainJob(data, "ease"), path / "ease")
        found.append([bpr, ease, fuse([bpr, ease], path / "both")])
    return found


def test_the_test_split_differs(twins: list[list[Run]]) -> None:
    for one, other in zip(*twins, strict=True):
        assert one.metrics["valid"] == other.metrics["valid"]
        assert one.metrics["test"] != other.metrics["test"]


def test_the_epoch_is_chosen_by_validation(twins: list[list[Run]]) -> None:
    one, other = twins[0][0], twins[1][0]
    assert one.config["best_epoch"] == other.config["best_epoch"]
    files = (run.path / "model.safetensors" for run in (one, other))
    assert len({file.read_bytes() for file in files}) == 1
    histories = [pq.read_table(run.path / "history.parquet") for run in (one, other)]
    assert len(histories[0]) == len(histories[1])
    assert not [name for name in histories[0].column_names if "test" in name]


def test_the_weights_of_a_fusion_are_of_validation(twins: list[list[Run]]) -> None:
    weights = [[part["weight"] for part in runs[2].config["parts"]] for runs in twins]
    assert weights[0] == weights[1]


def test_runs_that_are_tested_on_other_items_are_not_fused(
    twins: list[list[Run]], tmp_path: Path
) -> None:
    """Though all that they were trained and chosen by is the same."""
    with pytest.raises(RunError, match="different test interactions"):
        fuse([twins[0][0], twins[1][1]], tmp_path / "never")


def test_what_has_no_epochs_has_its_validation_in_one_row(twins: list[list[Run]]) -> None:
    for run in twins[0][1:]:
        (row,) = pq.read_table(run.path / "history.parquet").to_pylist()
        expected = {f"valid_{n}": v for n, v in run.metrics["valid"].items() if n.endswith("@20")}
        assert {name: value for name, value in row.items() if name != "seconds"} == expected
