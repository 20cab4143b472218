"""The grid: every cell once, resumed, selected, listed and reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mmx.errors import OptionError
from mmx.experiments.grid import Grid
from mmx.experiments.outcome import GridProgress, Outcome
from mmx.experiments.report import report
from mmx.locks import locked
from tests.catalogue import plain_catalogue, random_log, write_interactions
from tests.experiments.tiny import moments, tiny_plan


def test_every_cell_is_there_once(whole: tuple[Path, Outcome]) -> None:
    out, outcome = whole
    assert [one.cell.name for one in outcome.finished] == [
        "tiny-none-bpr-s3", "tiny-none-bpr-s4", "tiny-image-vbpr-s3", "tiny-image-vbpr-s4",
        "tiny-both-vbpr-s3", "tiny-both-vbpr-s4", "tiny-none-ease-s3",
    ]  # fmt: skip
    assert len(list((out / "runs").iterdir())) == 9  # and the two points that lost
    assert len(list((out / "cache").glob("*.parquet"))) == 1  # image and both share the store
    assert outcome.failures == []
    configs = [json.loads((one.path / "config.json").read_text()) for one in outcome.finished]
    assert {config["split"]["seed"] for config in configs} == {0}
    assert [c["training"]["seed"] for c in configs if c["training"]] == [3, 4] * 3
    modalities = [[f["modality"] for f in config["features"]] for config in configs]
    assert modalities == [[], [], *[["image"]] * 2, *[["image", "text"]] * 2, []]


def test_again_runs_nothing(whole: tuple[Path, Outcome]) -> None:
    out, outcome = whole
    before = moments([*(out / "runs").iterdir(), *(out / "cache").iterdir()])
    told: list[int] = []
    again = Grid(tiny_plan(), out, progress=lambda state: told.append(state.done)).run()
    assert moments([*(out / "runs").iterdir(), *(out / "cache").iterdir()]) == before
    assert [one.path for one in again.finished] == [one.path for one in outcome.finished]
    assert told[-1] == 9


def test_tables(whole: tuple[Path, Outcome]) -> None:
    out, outcome = whole
    made = report(Grid(tiny_plan(), out), outcome)
    results = pq.read_table(out / "results.parquet").to_pylist()
    assert results == made.results
    first = json.loads((out / results[2]["run"] / "metrics.json").read_text())
    for split in ("valid", "test"):
        for name, value in first[split].items():
            assert results[2][f"{split}_{name}"] == value
    rows = {(row["recommender"], row["features"]): row for row in made.table}
    assert {key: row["seeds"] for key, row in rows.items()} == {
        ("bpr", "none"): 2, ("vbpr", "image"): 2, ("vbpr", "both"): 2, ("ease", "none"): 1,
    }  # fmt: skip
    a, b = (row["test_ndcg@10"] for row in results[2:4])
    spread = abs(a - b) / 2**0.5  # the deviation of two
    assert rows["vbpr", "image"]["ndcg@10"] == f"{(a + b) / 2:.4f} ± {spread:.4f}"
    assert "±" not in rows["ease", "none"]["recall@20"]
    assert {t["features"] for t in made.significance} == {"both"}
    written = pq.read_table(out / "significance.parquet").to_pylist()
    assert str(written) == str(made.significance)  # of one split p_split is NaN, which equals none
    assert pq.read_table(out / "search.parquet").to_pylist() == outcome.tried
    assert [row["features"] for row in made.embeddings] == ["image", "both"]
    text = (out / "table.md").read_text()
    assert "| tiny | vbpr | image | 2 |" in text
    assert "uniformity_image" in text


def test_a_changed_plan_makes_other_runs(whole: tuple[Path, Outcome]) -> None:
    out, _ = whole
    grid = Grid(tiny_plan(training={"epochs": 3}), out)
    states = {row["cell"]: row["state"] for row in grid.listing()}
    assert states["tiny-none-bpr-s3"] == "to do"
    assert states["tiny-none-ease-s3"] == "finished"  # which has no epochs
    same = Grid(tiny_plan(seeds=[3, 4, 5], training={"epochs": 2, "device": "cpu"}), out)
    states = {row["cell"]: row["state"] for row in same.listing()}
    assert (states["tiny-none-bpr-s4"], states["tiny-none-bpr-s5"]) == ("finished", "to do")


@pytest.mark.parametrize("what", ["items", "interactions", "store", "min_rating", "ignore_weights"])
def test_a_run_of_other_contents_is_another(tmp_path: Path, what: str) -> None:
    data = plain_catalogue(tmp_path / "d", items=30)
    write_interactions(data, random_log(20, 30, 8))
    store = tmp_path / "s.parquet"
    store.write_bytes(b"one")

    def path(**rule: Any) -> Path:
        plan = tiny_plan(
            datasets={"d": {"data": str(data), **rule}},
            features={"image": {"stores": [str(store)]}},
            recommenders={"vbpr": None},
        )
        grid = Grid(plan, tmp_path / "out")
        return grid.path(grid.groups[0].trials[0])

    before = path()
    assert path() == before
    if what == "items":
        plain_catalogue(data, items=31)
    elif what == "interactions":
        write_interactions(data, random_log(20, 30, 9))
    elif what == "store":
        store.write_bytes(b"two")
    rules = {"min_rating": 4, "ignore_weights": True}
    assert path(**({what: rules[what]} if what in rules else {})) != before


@pytest.mark.parametrize("ignored", [False, True])
def test_weights_are_honoured_or_ignored(tmp_path: Path, ignored: bool) -> None:
    data, log = plain_catalogue(tmp_path / "d", items=20), random_log(12, 20, 6)
    write_interactions(data, log, weight=([1.0, 3.0] * len(log))[: len(log)])
    entry = {"data": str(data), "ignore_weights": ignored}
    plan = tiny_plan(
        datasets={"d": entry}, features={"none": "none"}, recommenders={"popularity": None},
        baseline="none",
    )  # fmt: skip
    (done,) = Grid(plan, tmp_path / "out").run().finished
    config = json.loads((done.path / "config.json").read_text())
    assert config["weights"] == ("ignored" if ignored else "honoured")


def test_dry_run_touches_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = Grid(tiny_plan(), out).listing()
    assert not out.exists()
    assert [row["state"] for row in rows].count("to do") == 7
    assert [row["search"] for row in rows].count("as the best") == 2


def test_only(tmp_path: Path) -> None:
    plan = tiny_plan()
    outcome = Grid(plan, tmp_path, only="*-image-vbpr-s4").run()
    assert [one.cell.name for one in outcome.finished] == [
        "tiny-image-vbpr-s3", "tiny-image-vbpr-s4",
    ]  # fmt: skip  # its search ran the first seed
    outcome = Grid(plan, tmp_path, only="*-bpr-s3").run()
    names = [one.cell.name for one in outcome.finished]
    assert names == ["tiny-none-bpr-s3", "tiny-image-vbpr-s3", "tiny-image-vbpr-s4"]
    assert outcome.failures == []
    with pytest.raises(OptionError, match="matches no cell"):
        Grid(plan, tmp_path, only="nothing")
    cells = {row["cell"] for row in Grid(plan, tmp_path, only=("*-bpr-s3", "nothing")).listing()}
    cells |= {row["cell"] for row in Grid(plan, tmp_path, only="*-vbpr-s4").listing()}
    both = Grid(plan, tmp_path, only=("*-bpr-s3", "*-vbpr-s4")).listing()
    assert {row["cell"] for row in both} == cells


def test_gathering_runs_nothing(tmp_path: Path) -> None:
    assert Grid(tiny_plan(), tmp_path / "out").gather() == Outcome()
    assert not (tmp_path / "out").exists()
    Grid(tiny_plan(), tmp_path, only="*-image-*").run()
    before = moments([*tmp_path.iterdir(), *(tmp_path / "runs").iterdir()])
    with locked(tmp_path):  # another process may be at work
        found = Grid(tiny_plan(), tmp_path).gather()
    assert [one.cell.name for one in found.finished] == ["tiny-image-vbpr-s3", "tiny-image-vbpr-s4"]
    assert len(found.tried) == 2
    assert found.failures == []
    assert moments([*tmp_path.iterdir(), *(tmp_path / "runs").iterdir()]) == before


def test_progress_says_what_is_done(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []

    def progress(state: GridProgress) -> None:
        told.append((state.cell, state.detail))

    Grid(tiny_plan(recommenders={"bpr": None}), tmp_path, progress=progress).run()
    details = [detail for cell, detail in told if cell == "tiny-none-bpr-s3"]
    assert any(detail.startswith("epoch 2  recall@20 ") for detail in details)
