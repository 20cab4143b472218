"""As many trials for every model: which points are tried, what is chosen and what is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mmx.errors import OptionError
from mmx.experiments.cells import groups
from mmx.experiments.costs import LEGEND as COSTS
from mmx.experiments.grid import Grid
from mmx.experiments.report import report
from mmx.experiments.search import at_edge, points
from mmx.experiments.searches import in_words, searches
from mmx.recommend.models import MODELS
from mmx.recommend.models.spaces import Range
from tests.experiments.tiny import tiny_plan

LR = {"low": "1e-4", "high": 0.01, "log": True}
PLAIN: dict[str, Any] = {"features": {"none": "none"}, "baseline": None}


def points_of(plan: Any, recommender: str) -> list[list[str]]:
    return [
        [cell.point for cell in group.trials]
        for group in groups(plan)
        if group.trials[0].recommender == recommender
    ]


def test_every_model_gets_the_same_number() -> None:
    models = dict.fromkeys(("bpr", "vbpr", "ease", "popularity", "lightgcn", "bm3"))
    plan = tiny_plan(recommenders=models, search="default", trials=6, control=["shuffle"])
    tried = {name: points_of(plan, name) for name in models}
    assert {name: {len(one) for one in some} for name, some in tried.items()} == {
        "bpr": {6}, "vbpr": {6}, "ease": {6}, "lightgcn": {6}, "bm3": {6}, "popularity": {1},
    }  # fmt: skip
    assert tried["popularity"] == [[""]]
    for name in ("bpr", "vbpr"):  # the same points with any features and under any control
        assert len(set(map(tuple, tried[name]))) == 1
        assert tried[name][0][0] == "defaults"
        assert len(set(tried[name][0])) == 6
    assert tried["bpr"][0][1:] != [one.partition(" content")[0] for one in tried["vbpr"][0][1:]]


def test_more_trials_are_further_ones_and_another_seed_draws_others() -> None:
    few, many, other = (
        points_of(tiny_plan(recommenders={"bpr": {"search": {"lr": LR, "reg": [1e-3, 1e-2]}}},
                            **PLAIN, **changes), "bpr")[0]
        for changes in ({"trials": 4}, {"trials": 9}, {"trials": 4, "search_seed": 1})
    )  # fmt: skip
    assert many[:4] == few
    assert set(other) != set(few)
    rates = [float(point.partition("lr=")[2].split()[0]) for point in many]
    assert min(rates) >= 1e-4
    assert max(rates) <= 1e-2


def test_a_small_grid_is_tried_whole() -> None:
    search = {"reg": [0.1, 0.2], "dim": [4, 8]}
    whole = [f"reg={reg} dim={dim}" for reg in (0.1, 0.2) for dim in (4, 8)]
    for trials, expected in ((4, whole), (9, whole), (None, whole)):
        plan = tiny_plan(recommenders={"bpr": {"search": search}}, trials=trials, **PLAIN)
        assert points_of(plan, "bpr") == [expected]
    some = points_of(tiny_plan(recommenders={"bpr": {"search": search}}, trials=3, **PLAIN), "bpr")
    assert len(set(some[0])) == 3
    assert set(some[0]) < set(whole)
    few = tiny_plan(recommenders={"bpr": {"search": {"dim": {"low": 4, "high": 6}}}}, trials=50,
                    **PLAIN)  # fmt: skip
    assert sorted(points_of(few, "bpr")[0]) == ["dim=4", "dim=5", "dim=6"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"recommenders": {"bpr": {"search": {"lr": LR}}}},
         r"recommenders.bpr: search: lr as a range needs a number of trials; add 'trials: 20'"),
        ({"search": "default"}, "search: default needs a number of trials"),
        ({"search": {"lr": [1]}}, "search: 'default' is expected here"),
        ({"trials": 3, "recommenders": {"bpr": None}}, "trials: no recommender is searched"),
        ({"trials": 0}, "trials: 0: 1 to 10000"),
        ({"trials": 10**6}, "trials: 1000000"),
        ({"search_seed": -1}, "search_seed: -1"),
        ({"trials": 2, "recommenders": {"bpr": {"search": "defaults"}}}, "or 'default', not"),
        ({"trials": 2, "recommenders": {"bpr": {"search": {"lr": {"low": 1}}}}},
         "search.lr: 'high' is missing"),
        ({"trials": 2, "recommenders": {"bpr": {"search": {"lr": {"lo": 1, "high": 2}}}}},
         "search.lr: unknown key 'lo'; do you mean 'low'|unknown key 'lo'"),
        ({"trials": 2, "recommenders": {"bpr": {"search": {"lr": {"low": 2, "high": 1}}}}},
         "search.lr: low 2 is not below high 1"),
        ({"trials": 2, "recommenders": {"bpr": {"search": {"lr": {"low": "x", "high": 1}}}}},
         "search.lr: low: a number is expected"),
        ({"trials": 2, "recommenders": {"ease": {"search": {"lr": LR}}}}, "closed form; drop 'lr'"),
        ({"trials": 2, "recommenders": {"bpr": {"search": {"dim": {"low": 4.0, "high": 9}}}}},
         "int is expected"),
    ],
)  # fmt: skip
def test_what_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        groups(tiny_plan(**(PLAIN | {"recommenders": {"bpr": None}} | changes)))


def test_an_entry_can_leave_the_plan_s_search() -> None:
    models = {"bpr": {"search": {}}, "ease": None}
    plan = tiny_plan(recommenders=models, search="default", trials=2, **PLAIN)
    assert points_of(plan, "bpr") == [[""]]
    assert len(points_of(plan, "ease")[0]) == 2


def test_edges() -> None:
    space = {"a": Range(0.0, 1.0), "b": (1, 2, 3), "c": (True, False), "d": ("x", "y"), "e": (5,)}
    assert at_edge(space, (("a", 0.01), ("b", 3), ("c", True), ("d", "x"), ("e", 5))) == ["a", "b"]
    assert at_edge(space, (("a", 0.5), ("b", 2))) == []
    assert points("m", {"a": ()}, MODELS["bpr"], None, 0) == []


@pytest.mark.filterwarnings("ignore:.* encountered in matmul:RuntimeWarning")
def test_it_runs_counts_failures_resumes_and_says_what_it_did(tmp_path: Path) -> None:
    """The first seed tries; what diverges is a trial as well; test metrics choose nothing."""
    content: dict[str, Any] = dict(
        recommenders={"bpr": {"search": {"lr": [1e30, 0.01, 0.02]}}, "ease": {"search": "default"}},
        training={"epochs": 30}, trials=3, seeds=[0], **PLAIN,
    )  # fmt: skip
    plan = tiny_plan(**content)
    grid = Grid(plan, tmp_path)
    outcome = grid.run()
    made = report(grid, outcome)
    bpr, ease = made.searches
    assert (bpr["trials"], bpr["failed"], ease["trials"], ease["failed"]) == (3, 1, 3, 0)
    assert bpr["chosen"] in ("lr=0.01", "lr=0.02")
    assert made.search_words[0].endswith("the same number of trials: 3 (bpr, ease).")
    text = (tmp_path / "table.md").read_text()
    assert made.search_words[0] in text
    assert bpr["chosen"] in text
    assert {row["recommender"] for row in made.cost} == {"bpr", "ease"}
    assert all(row["training s"] > 0 and row["parameters"] > 100 for row in made.cost)
    assert COSTS in text
    assert all(row["parameters"] and row["training_seconds"] for row in made.results)
    runs = sorted((tmp_path / "runs").iterdir())
    again = Grid(plan, tmp_path)
    for run in runs:  # absurd test metrics, the best for what was worst
        metrics = json.loads((run / "metrics.json").read_text())
        metrics["test"] = dict.fromkeys(metrics["test"], 1e6 * (1 - metrics["valid"]["recall@20"]))
        (run / "metrics.json").write_text(json.dumps(metrics))
    before = {run.name: (run / "model.safetensors").stat().st_mtime_ns for run in runs}
    chosen = searches(again.run().tried)
    assert [row["chosen"] for row in chosen] == [row["chosen"] for row in made.searches]
    after = {run.name: (run / "model.safetensors").stat().st_mtime_ns
             for run in sorted((tmp_path / "runs").iterdir())}  # fmt: skip
    assert after == before


def test_words() -> None:
    row = {"recommender": "bpr", "trials": 9, "at the edge": "lr"}
    other = {"recommender": "ease", "trials": 4, "at the edge": ""}
    lines = in_words([row, row, other])
    assert lines[0].startswith("The models did not get the same number of trials")
    assert lines[0].endswith("9 (bpr); 4 (ease).")
    assert lines[1].startswith("In 2 of 3 searches a chosen value is at the edge")
    assert in_words([]) == []
