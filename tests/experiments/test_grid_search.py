"""The search of a grid: chosen by validation alone, or not at all."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmx.experiments.grid import Grid
from mmx.experiments.outcome import Outcome
from mmx.experiments.report import report
from tests.experiments.tiny import tiny_plan

VALID = "valid_recall@20"
diverges = pytest.mark.filterwarnings("ignore:.* encountered in matmul:RuntimeWarning")


def test_the_search_looks_at_validation_only(whole: tuple[Path, Outcome]) -> None:
    _, outcome = whole
    for features in ("image", "both"):
        rows = [row for row in outcome.tried if row["features"] == features]
        (chosen,) = [row for row in rows if row["chosen"]]
        assert chosen[VALID] == max(row[VALID] for row in rows)
        used = {one.cell.point for one in outcome.finished if one.cell.features == features}
        assert used == {chosen["point"]}
    assert not [name for row in outcome.tried for name in row if "test" in name]


@pytest.mark.parametrize(
    ("reached", "wins"), [((0.2, 0.3), 1), ((0.3, 0.2), 0), ((0.2, 0.2), 0), ((math.nan, 0.1), 1)]
)
def test_the_best_on_validation_wins(
    whole: tuple[Path, Outcome], tmp_path: Path, reached: tuple[float, float], wins: int
) -> None:
    """With validation figures set by hand, and test figures that say the opposite."""
    out = tmp_path / "copy"
    shutil.copytree(whole[0], out)
    grid = Grid(tiny_plan(), out)
    trials = grid.groups[1].trials  # vbpr with image
    for cell, value in zip(trials, reached, strict=True):
        path = grid.path(cell) / "metrics.json"
        metrics = json.loads(path.read_text())
        metrics["valid"]["recall@20"], metrics["test"]["recall@20"] = value, 1 - value
        path.write_text(json.dumps(metrics))
    finished = grid.gather().finished
    first = next(one for one in finished if one.cell.name == "tiny-image-vbpr-s3")
    assert first.cell == trials[wins]
    assert first.path == grid.path(trials[wins])  # its run is the first seed's


@diverges
def test_a_point_that_fails_does_not_win(tmp_path: Path) -> None:
    search = {"search": {"lr": [1e30, 0.01]}, "training": {"epochs": 50}}
    outcome = Grid(tiny_plan(recommenders={"bpr": search}), tmp_path).run()
    assert [one.cell.point for one in outcome.finished] == ["lr=0.01"] * 2
    assert [row["cell"] for row in outcome.failures] == ["tiny-none-bpr-s3 lr=1e+30"]
    assert [row["chosen"] for row in outcome.tried] == [False, True]
    worse = {"search": {"lr": [1e30, 1e31]}, "training": {"epochs": 50}}
    outcome = Grid(tiny_plan(recommenders={"bpr": worse}), tmp_path / "worse").run()
    assert outcome.finished == []
    assert "no point of its search" in outcome.failures[-1]["reason"]


def test_a_search_is_taken_over(tmp_path: Path) -> None:
    image = {"extract": [{"model": "toy", "use": ["image"]}]}
    both = {"extract": [{"model": "toy"}], "search_as": "image"}
    search = {"vbpr": {"search": {"lr": [1e-5, 0.05]}}}
    plan = tiny_plan(features={"image": image, "both": both}, recommenders=search)
    rows = [(row["cell"], row["search"]) for row in Grid(plan, tmp_path).listing()]
    assert rows[3:] == [("tiny-both-vbpr-s3", "as image"), ("tiny-both-vbpr-s4", "as image")]
    outcome = Grid(plan, tmp_path, only="*both*").run()
    assert len(outcome.failures) == 2  # nothing was chosen for image yet
    outcome = Grid(plan, tmp_path).run()
    (chosen,) = [row["point"] for row in outcome.tried if row["chosen"]]
    assert [one.cell.point for one in outcome.finished] == [chosen] * 4
    assert len(list((tmp_path / "runs").iterdir())) == 5  # one point lost
    assert [one.cell.name for one in outcome.finished if one.cell.features == "both"] == [
        "tiny-both-vbpr-s3", "tiny-both-vbpr-s4",
    ]  # fmt: skip


def strangers(folder: Path) -> Path:
    """A dataset whose validation users took nothing in training."""
    folder.mkdir()
    pq.write_table(pa.table({"item_id": [f"i{n}" for n in range(9)]}), folder / "items.parquet")
    rows = [(f"u{u}", f"i{(u + n) % 9}", part) for u in range(6)
            for n, part in enumerate(["train", "train", "test"])]  # fmt: skip
    rows += [("new", "i0", "valid"), ("newer", "i1", "valid")]
    names = ("user_id", "item_id", "split")
    log = pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
    pq.write_table(log, folder / "interactions.parquet")
    return folder


def test_where_nothing_validates_nothing_is_chosen_and_it_is_said(tmp_path: Path) -> None:
    changes = {"datasets": {"odd": {"data": str(strangers(tmp_path / "data"))}}, "seeds": [3],
               "features": {"none": "none"}, "baseline": None,
               "recommenders": {"bpr": {"search": {"reg": [0.01, 0.1]}},
                                "lightgcn": None}}  # fmt: skip
    grid = Grid(tiny_plan(**changes), tmp_path / "out")
    outcome = grid.run()
    (failure,) = outcome.failures
    assert failure["reason"].startswith("nothing validates: no validation user has training")
    assert not any(row["chosen"] for row in outcome.tried)
    (one,) = outcome.finished
    assert one.cell.recommender == "lightgcn"
    assert not one.validated
    report(grid, outcome)
    said = "In odd no validation user has training interactions: the last epoch counts"
    assert said in (tmp_path / "out" / "table.md").read_text()
