"""What fails in a grid: cells, processes, devices; nothing else stops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mmx.errors import OptionError, RunError, TargetError
from mmx.experiments.grid import Grid
from mmx.experiments.journal import Journal
from mmx.experiments.report import report
from mmx.locks import locked
from tests.experiments.tiny import tiny_plan

diverges = pytest.mark.filterwarnings("ignore:.* encountered in matmul:RuntimeWarning")


def broken_plan() -> Any:
    """Two features entries that fail, one recommender that does, and one that is fine."""
    return tiny_plan(
        features={
            "none": "none",
            "image": {"stores": ["nowhere.parquet"]},
            "both": {"extract": [{"model": "clip:mini", "weights": "nowhere.pt"}]},
        },
        recommenders={
            "vbpr": None,
            "wild": {"model": "bpr", "training": {"lr": 1e30, "epochs": 50}},
            "bpr": None,
        },
    )


@diverges
def test_a_failure_stops_no_other_cell(tmp_path: Path) -> None:
    outcome = Grid(broken_plan(), tmp_path).run()
    assert [one.cell.name for one in outcome.finished] == ["tiny-none-bpr-s3", "tiny-none-bpr-s4"]
    reasons = {row["cell"]: row["reason"] for row in outcome.failures}
    assert len(reasons) == 6
    assert "nowhere.parquet: No such file" in reasons["tiny-image-vbpr-s3"]
    assert "nowhere.pt" in reasons["tiny-both-vbpr-s4"]
    assert "lower --lr" in reasons["tiny-none-wild-s3"]
    assert json.loads((tmp_path / "failures.json").read_text()) == outcome.failures
    assert json.loads((tmp_path / "started.json").read_text()) == {}
    made = report(Grid(broken_plan(), tmp_path), outcome)
    assert len(made.table) == 1
    again = Grid(broken_plan(), tmp_path).run()  # failed cells are tried again
    assert again.failures == outcome.failures


def test_started_twice_and_never_finished(tmp_path: Path) -> None:
    plan = tiny_plan(recommenders={"bpr": None})
    grid = Grid(plan, tmp_path)
    first = grid.path(grid.groups[0].trials[0])
    (tmp_path / "started.json").write_text(json.dumps({first.name: 2}))
    outcome = Grid(plan, tmp_path).run()
    assert [one.cell.name for one in outcome.finished] == ["tiny-none-bpr-s4"]
    (failure,) = outcome.failures
    assert failure["cell"] == "tiny-none-bpr-s3"
    assert "started 2 times" in failure["reason"]
    assert "--retry-failed" in failure["reason"]
    outcome = Grid(plan, tmp_path, retry_failed=True).run()
    assert len(outcome.finished) == 2
    assert outcome.failures == []


def test_the_journal_counts_only_ends_of_the_process(tmp_path: Path) -> None:
    path = tmp_path / "started.json"

    def counts() -> dict[str, int]:
        return Journal(path).started

    def fail() -> None:
        with Journal(path).attempt("work"):
            assert counts() == {"work": 1}
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert counts() == {}
    path.write_text('{"work": 1}')
    with Journal(path).attempt("work") as advanced:
        assert counts() == {"work": 2}
        advanced()  # were the process killed now, it would be for the first time
        assert counts() == {"work": 1}
    path.write_text('{"work": 2}')
    with pytest.raises(RunError, match="started 2 times"), Journal(path).attempt("work"):
        pass
    assert counts() == {"work": 2}


def test_two_processes_do_not_meet(tmp_path: Path) -> None:
    grid = Grid(tiny_plan(), tmp_path)
    with locked(tmp_path), pytest.raises(TargetError, match="another process"):
        grid.run()


def test_a_device_that_is_none_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--device gpu is unknown to torch"):
        Grid(tiny_plan(), tmp_path / "out", device="gpu")
    assert not (tmp_path / "out").exists()
