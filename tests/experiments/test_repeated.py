"""One arm against another over splits, seeds and users; and a plan that repeats its split."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

from mmx.errors import OptionError, RunError
from mmx.experiments.cells import groups
from mmx.experiments.grid import Grid
from mmx.experiments.outcome import Finished
from mmx.experiments.repeated import PerUser, Repetition, against, correct, overlap_ratio
from mmx.experiments.report import legend, report, summary
from mmx.experiments.significance import compare
from mmx.experiments.statistics import corrected_t
from tests.experiments.made_runs import METRICS, made_run
from tests.experiments.tiny import tiny_plan

METRIC = "recall@20"
DRAWN = {"tiny": {"sample": {"items": 30, "users": 40}, "split": "random", "split_seed": 5}}


def write_users(path: Path, users: list[str], values: np.ndarray) -> Path:
    path.mkdir(parents=True)
    table = {"user_id": users, **dict.fromkeys(METRICS, values)}
    pq.write_table(pa.table(table), path / "per_user.parquet")
    pq.write_table(pa.table({"split": ["train"] * 8 + ["test"]}), path / "interactions.parquet")
    return path


def test_means_tests_and_gain_by_loops(tmp_path: Path) -> None:
    """Three splits; one arm has two seeds on each, the other one; a user is missing in a split."""
    rng = np.random.default_rng(0)
    users = [[f"u{n}" for n in range(12) if n != split] for split in range(3)]
    mine = {(x, s): rng.random(11) for x in range(3) for s in range(2)}
    base = {x: rng.random(11) for x in range(3)}
    ours = [Repetition(write_users(tmp_path / f"m{x}{s}", users[x], v), x, s)
            for (x, s), v in mine.items()]  # fmt: skip
    theirs = [Repetition(write_users(tmp_path / f"b{x}", users[x], v), x, None)
              for x, v in base.items()]  # fmt: skip
    table = PerUser.of([*ours, *theirs], [METRIC])
    row = against(table, ours, theirs, METRIC, 1 / 8)
    means = np.array([(mine[x, 0].mean() + mine[x, 1].mean()) / 2 for x in range(3)])
    others = np.array([base[x].mean() for x in range(3)])
    assert row["mean"] == pytest.approx(means.mean()) == table.mean(ours, METRIC)
    assert row["gain"] == pytest.approx(means.mean() / others.mean() - 1)
    assert row["p_split"] == pytest.approx(corrected_t(means - others, 1 / 8))
    runs = [v.mean() for v in mine.values()]
    assert table.deviation(ours, METRIC) == pytest.approx(np.std(runs, ddof=1))
    assert np.isnan(table.deviation(theirs[:1], METRIC))
    averaged: dict[str, tuple[list[float], list[float]]] = {}
    for x in range(3):
        for n, user in enumerate(users[x]):
            a, b = averaged.setdefault(user, ([], []))
            a.append((mine[x, 0][n] + mine[x, 1][n]) / 2)
            b.append(base[x][n])
    a, b = (np.array([np.mean(pair[side]) for pair in averaged.values()]) for side in (0, 1))
    assert (row["users"], row["splits"]) == (12, 3)
    assert row["p_t"] == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert row["p_wilcoxon"] == pytest.approx(stats.wilcoxon(a, b).pvalue)
    assert row["effect_size"] == pytest.approx((a - b).mean() / (a - b).std(ddof=1))
    assert row["low"] < row["mean"] - row["baseline_mean"] < row["high"]


def test_only_common_splits_count_and_there_must_be_one(tmp_path: Path) -> None:
    users = ["a", "b", "c"]
    runs = [Repetition(write_users(tmp_path / f"r{x}", users, np.arange(3) + x), x % 3, 0)
            for x in range(4)]  # fmt: skip
    table = PerUser.of(runs, [METRIC])
    row = against(table, runs[:3], [runs[3]], METRIC, 0.1)
    assert (row["splits"], row["mean"], row["baseline_mean"]) == (1, 1.0, 4.0)
    assert np.isnan(row["p_split"])
    with pytest.raises(RunError, match="share no split"):
        against(table, runs[1:3], [runs[3]], METRIC, 0.1)


def test_no_baseline_and_no_users(tmp_path: Path) -> None:
    zero = Repetition(write_users(tmp_path / "z", ["a", "b"], np.zeros(2)), 0, 0)
    one = Repetition(write_users(tmp_path / "o", ["a", "b"], np.ones(2)), 0, 0)
    row = against(PerUser.of([zero, one], [METRIC]), [one], [zero], METRIC, 0.1)
    assert np.isnan(row["gain"])
    empty = Repetition(write_users(tmp_path / "e", [], np.zeros(0)), 0, 0)
    with pytest.raises(RunError, match="tests no user; leave it out"):
        PerUser.of([empty], [METRIC])


def test_each_family_is_corrected_alone() -> None:
    rows = [{"metric": m, "p_split": p, "p_t": p, "p_wilcoxon": p}
            for m, p in (("a", 0.01), ("b", 0.02), ("a", 0.03))]  # fmt: skip
    correct(rows, lambda row: row["metric"])
    assert [row["p_t_holm"] for row in rows] == pytest.approx([0.02, 0.02, 0.03])


def test_overlap_is_counted(tmp_path: Path) -> None:
    assert overlap_ratio([made_run(tmp_path / "a", [0.1] * 6)]) == 1 / 8


def test_a_plan_tests_over_its_splits(tmp_path: Path) -> None:
    plan = tiny_plan(datasets=DRAWN, repeat_splits=3)
    cells = {g.trials[0].features: g.trials[0] for g in groups(plan) if not g.trials[0].repeat}
    users, rng = [f"u{n}" for n in range(30)], np.random.default_rng(0)
    finished = []
    for x in range(3):
        base = rng.random(30)
        for name, values in (("image", base), ("both", base + 0.1 + 0.01 * x)):
            cell = replace(cells[name], split_seed=5 + x, repeat=x)
            finished.append(Finished(cell, write_users(tmp_path / f"{name}{x}", users, values)))
    rows = compare(plan, finished)
    assert {row["splits"] for row in rows} == {3}
    assert rows[0]["p_split"] == pytest.approx(corrected_t(np.array([0.1, 0.11, 0.12]), 1 / 8))
    for one in finished:
        metrics = {"valid": {"recall@20": 0.1}, "counts": {"valid_users": 3}}
        text = json.dumps({**metrics, "test": dict.fromkeys(METRICS, 0.5)})
        (one.path / "metrics.json").write_text(text)
    assert "t-test over the means of the splits" in legend(plan, finished)
    assert "paired t-test" in legend(plan, finished[:2])  # one split is there
    table = summary(plan, finished, rows)
    assert [(row["features"], row["splits"], row["seeds"]) for row in table] == [
        ("image", 3, 1), ("both", 3, 1),
    ]  # fmt: skip
    assert table[1]["recall@20"] == "0.5000 ± 0.0000*"  # and no † of the tests over users


def test_cells_of_a_repeated_split() -> None:
    made = groups(tiny_plan(datasets=DRAWN, repeat_splits=2, recommenders={"vbpr": None}))
    cells = [cell for group in made for cell in group.cells(group.trials[0])]
    assert [(c.name, c.split_seed) for c in cells] == [
        ("tiny-image-vbpr-s3", 5), ("tiny-image-vbpr-s4", 5),
        ("tiny-both-vbpr-s3", 5), ("tiny-both-vbpr-s4", 5),
        ("tiny-image-vbpr-split6-s3", 6), ("tiny-image-vbpr-split6-s4", 6),
        ("tiny-both-vbpr-split6-s3", 6), ("tiny-both-vbpr-split6-s4", 6),
    ]  # fmt: skip


def test_cells_of_a_control_on_a_repeated_split() -> None:
    plan = tiny_plan(
        datasets=DRAWN, repeat_splits=2, control=["shuffle"], recommenders={"vbpr": None}
    )
    names = {cell.name for group in groups(plan) for cell in group.cells(group.trials[0])}
    assert {"tiny-image@shuffle-vbpr-s3", "tiny-image@shuffle-vbpr-split6-s3"} < names
    assert len(names) == 2 * 2 * 2 * 2  # splits, features, arms, seeds


def test_runs_of_the_first_split_are_those_without_repetition(tmp_path: Path) -> None:
    once = Grid(tiny_plan(datasets=DRAWN), tmp_path)
    twice = Grid(tiny_plan(datasets=DRAWN, repeat_splits=2), tmp_path)
    paths = [{g.path(c) for group in g.groups for c in group.trials} for g in (once, twice)]
    assert paths[0] < paths[1]
    assert len(paths[1]) == 2 * len(paths[0])


def test_each_split_has_its_own_search_and_runs(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "datasets": DRAWN, "repeat_splits": 2, "features": {"none": "none"}, "baseline": None,
        "recommenders": {"ease": {"search": {"reg": [1, 500]}}},
    }  # fmt: skip
    grid = Grid(tiny_plan(**changes), tmp_path)
    outcome = grid.run()
    assert outcome.failures == []
    assert [row["split_seed"] for row in outcome.tried] == [5, 5, 6, 6]
    assert [sum(r["chosen"] for r in outcome.tried if r["split_seed"] == x) for x in (5, 6)] == [
        1,
        1,
    ]
    for x in (5, 6):
        rows = [row for row in outcome.tried if row["split_seed"] == x]
        (best,) = [row for row in rows if row["chosen"]]
        assert best["valid_recall@20"] == max(row["valid_recall@20"] for row in rows)
    splits = [pq.read_table(one.path / "interactions.parquet") for one in outcome.finished]
    assert not splits[0].equals(splits[1])
    made = report(grid, outcome)
    assert [(row["splits"], row["seeds"]) for row in made.table] == [(2, 1)]
    assert [row["split_seed"] for row in made.results] == [5, 6]
    assert "over splits and seeds" in (tmp_path / "table.md").read_text()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"datasets": {"d": {"data": "x", "split": "temporal"}}}, "not 'temporal'; set 'split: ra"),
        ({"datasets": {"d": {"data": "x", "split": "given"}}}, "needs a split that is drawn"),
        ({"datasets": {"d": {"data": "x"}}}, "datasets.d: repeat_splits needs a split that is dr"),
        ({"datasets": {"d": {"data": "x", "split": "leave-one-out"}}}, "not 'leave-one-out'"),
        ({"repeat_splits": 0}, "repeat_splits: 0: 1 to 100 is expected"),
        ({"repeat_splits": 1000}, "at most 100 is expected"),
        ({"repeat_splits": "3"}, "int is expected"),
        (
            {"features": {"f": {"finetune": {"model": "clip", "objectives": ["co-interaction"]}}},
             "baseline": None},
            "features.f: co-interaction learns from one split",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_repeated_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError) as caught:
        tiny_plan(**{"repeat_splits": 3, **changes})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rule", "drawn"),
    [
        ({"split": "users"}, True),
        ({"split": "cold-items"}, True),
        ({"split": "cold-items", "at": 0.8}, True),
        ({"split": "cold-items", "at": "2014-05-01"}, False),
        ({"split": "temporal", "at": 0.8}, False),
    ],
)
def test_which_rules_are_drawn(rule: dict[str, Any], drawn: bool) -> None:
    datasets = {"d": {"data": "x", **rule}}
    assert tiny_plan(datasets=datasets).datasets["d"].is_drawn == drawn
    with nullcontext() if drawn else pytest.raises(OptionError, match="needs a split that is dr"):
        tiny_plan(datasets=datasets, repeat_splits=2)


def test_a_sample_is_drawn() -> None:
    datasets = {"tiny": {"sample": {"items": 30, "users": 40}}}
    assert tiny_plan(datasets=datasets, repeat_splits=2).repeat_splits == 2
