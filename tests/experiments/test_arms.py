"""Which runs are one arm, which may be compared, and what chooses: validation alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from mmx.data.splits import SplitRule
from mmx.errors import OptionError, RunError
from mmx.experiments.arms import arms_of, best_baseline, find_arm
from mmx.experiments.comparison import compare_runs
from mmx.experiments.comparison_text import to_json
from mmx.recommend.fit import fit
from mmx.recommend.fuse import fuse
from mmx.recommend.job import TrainJob
from mmx.recommend.options import TrainOptions
from mmx.recommend.run import config_of
from tests.catalogue import plain_catalogue, random_log, write_interactions
from tests.experiments.made_runs import CLIP, made_run, planted, split_table

FEW = [0.1, 0.4, 0.2, 0.0, 0.3, 0.5]
MORE = [0.2, 0.5, 0.2, 0.1, 0.4, 0.7]


def test_seeds_and_splits_are_repetitions_and_all_else_is_an_arm(tmp_path: Path) -> None:
    runs = [made_run(tmp_path / f"b{x}{s}", FEW, split=x, seed=s) for x in (0, 1) for s in (0, 1)]
    vbpr = {"model": "vbpr", "features": CLIP}
    others = {
        "clip": vbpr,
        "high": {**vbpr, "settings": {"reg": 0.1}},
        "long": {**vbpr, "training": {"epochs": 9, "seed": 0}},
        "shuffled": {**vbpr, "control": {"kind": "shuffle", "seed": 3}},
        "other": {**vbpr, "features": [{**CLIP[0], "store": "cache/vlmo.parquet"}]},
    }
    for name, config in others.items():
        runs += [made_run(tmp_path / f"{name}{x}", MORE, split=x, **config) for x in (0, 1)]
    arms = arms_of(runs)
    assert [len(arm.runs) for arm in arms] == [4, 2, 2, 2, 2, 2]
    assert [arm.name for arm in arms] == [
        "bpr",
        "vbpr clip:image (reg=0.01 epochs=2 kind=none)",
        "vbpr clip:image (reg=0.1 epochs=2 kind=none)",
        "vbpr clip:image (reg=0.01 epochs=9 kind=none)",
        "vbpr clip:image (reg=0.01 epochs=2 kind=shuffle)",
        "vbpr vlmo:image",
    ]
    assert [arm.features for arm in arms] == [False, True, True, True, True, True]
    assert find_arm(arms, "bpr") is arms[0]
    assert find_arm(arms, str(tmp_path / "high1")) is find_arm(arms, "high0") is arms[2]
    with pytest.raises(OptionError, match="--against vbpr is one of 5 arms; name a run of it"):
        find_arm(arms, "vbpr")
    with pytest.raises(OptionError, match=r"--against x is not an arm; .* one of 'bpr', 'vbpr"):
        find_arm(arms, "x")


def test_a_control_s_seed_and_an_end_to_end_arm(tmp_path: Path) -> None:
    runs = [
        made_run(tmp_path / f"c{s}", FEW, seed=s, control={"kind": "noise", "seed": s})
        for s in (0, 1)
    ]
    (arm,) = arms_of(runs)
    assert len(arm.runs) == 2
    joint = made_run(tmp_path / "j", FEW, end_to_end={"encoder": "clip", "seed": 1})
    (arm,) = arms_of([joint])
    assert (arm.name, arm.features) == ("bpr clip end-to-end", True)


def refusal(*paths: Path) -> str:
    with pytest.raises(RunError) as caught:
        arms_of(paths)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_other_data_or_rules_are_refused_with_what_differs(tmp_path: Path) -> None:
    base = made_run(tmp_path / "base", FEW)
    rated = made_run(tmp_path / "rated", FEW, rule={"min_rating": 4.0})
    assert f"{base} and {rated} differ in dataset or split: min_rating none and 4.0" in refusal(
        base, rated
    )
    table = split_table(0)
    fewer = made_run(tmp_path / "fewer", FEW, table=table.slice(1))
    assert "differ in dataset or split: other interactions; compare runs of" in refusal(base, fewer)
    other = made_run(tmp_path / "other", FEW, table=split_table(1))
    assert "another split although both have seed 0" in refusal(base, other)
    moved = made_run(tmp_path / "moved", FEW, data="elsewhere", seed=1)
    assert len(arms_of([base, moved])) == 1  # contents decide, not paths


def test_rows_in_another_order_are_the_same_split(tmp_path: Path) -> None:
    table = split_table(0)
    turned = table.take(np.arange(len(table))[::-1])
    a = made_run(tmp_path / "a", FEW)
    b = made_run(tmp_path / "b", FEW, seed=1, table=turned)
    assert len(arms_of([a, b])[0].runs) == 2


def test_arms_on_other_splits_are_refused(tmp_path: Path) -> None:
    base = [made_run(tmp_path / f"b{x}", FEW, split=x) for x in (0, 1)]
    one = made_run(tmp_path / "e", MORE, split=0, seed=None, model="ease")
    said = f"'ease' has no run on the split of {base[1]} (split seed 1); train it there"
    for order in ([*base, one], [one, *base]):
        assert said in refusal(*order)


def test_copies_are_refused(tmp_path: Path) -> None:
    a = made_run(tmp_path / "a", FEW, seed=None, model="ease")
    b = shutil.copytree(a, tmp_path / "b")
    assert f"{a} and {b} repeat each other" in refusal(a, b)
    with pytest.raises(OptionError, match="is given twice"):
        arms_of([a, tmp_path / "." / "a"])
    with pytest.raises(OptionError, match="no run is given"):
        arms_of([])


def test_broken_runs_are_one_line(tmp_path: Path) -> None:
    a = made_run(tmp_path / "a", FEW)
    assert "no run at" in refusal(a, tmp_path / "absent")
    for name in ("config.json", "metrics.json", "items.parquet"):
        b = made_run(tmp_path / f"b{name}", FEW, seed=1)
        (b / name).write_text("{}")
        assert "is broken" in refusal(a, b) or "run format" in refusal(a, b)
    for content in (b"", b"PAR1"):
        (a / "per_user.parquet").write_bytes(content)
        with pytest.raises(RunError, match=r"is broken: per_user\.parquet"):
            compare_runs([a])


def test_the_best_baseline_is_chosen_by_validation_alone(tmp_path: Path) -> None:
    worse = made_run(tmp_path / "w", MORE, valid=0.2)
    better = made_run(tmp_path / "b", FEW, valid=0.3, model="ease", seed=None)
    rich = made_run(tmp_path / "r", MORE, valid=0.9, model="vbpr", features=CLIP)
    runs = [worse, rich, better]
    assert best_baseline(arms_of(runs)).name == "ease"
    before = to_json(compare_runs(runs))
    planted(worse, 1e9)
    planted(better, -1e9)
    assert to_json(compare_runs(runs)) == before  # nothing at all reads the means of the test
    shutil.copy(made_run(tmp_path / "absurd", [1e9] * 6) / "per_user.parquet", worse)
    assert compare_runs(runs).against == "ease"
    with pytest.raises(OptionError, match="no run is without features"):
        best_baseline(arms_of([rich]))
    blind = made_run(tmp_path / "n", FEW, valid=float("nan"), seed=4)
    with pytest.raises(OptionError, match="nothing validates"):
        best_baseline(arms_of([blind]))


def test_weights_of_a_fusion_do_not_see_the_test(tmp_path: Path) -> None:
    parts = [made_run(tmp_path / name, FEW, model=name) for name in ("bpr", "lightgcn")]
    fuse(parts, tmp_path / "one")
    planted(parts[0], 1e9)
    planted(parts[1], -1e9)
    fuse(parts, tmp_path / "two")
    one, two = (config_of(tmp_path / name)["parts"] for name in ("one", "two"))
    assert [p["weight"] for p in one] == [p["weight"] for p in two]
    (arm,) = arms_of([tmp_path / "one"])
    assert (arm.name, arm.features) == ("bpr & lightgcn", False)


def test_the_epoch_does_not_see_the_test(tmp_path: Path) -> None:
    """The same log with other items held out for the test only: the same best epoch."""
    data, log = plain_catalogue(tmp_path / "d", items=30), random_log(20, 30, 7)
    split = ["train", "train", "train", "train", "train", "valid", "test"] * 20
    found = []
    for moved in (0, 1):
        pairs = [
            (user, f"i{(int(item[1:]) + moved * (part == 'test')) % 30}")
            for (user, item), part in zip(log, split, strict=True)
        ]
        write_interactions(data, pairs, split=split)
        job = TrainJob(data, "bpr", split=SplitRule("given"), training=TrainOptions(epochs=4))
        run = fit(job, tmp_path / str(moved), log=lambda line: None)
        found.append((run.config["best_epoch"], run.metrics["valid"], run.metrics["test"]))
    assert found[0][:2] == found[1][:2]
    assert found[0][2] != found[1][2]
