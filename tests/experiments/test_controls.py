"""Controls in a plan: their cells, their places in the tables, and what the report says of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mmx.errors import OptionError
from mmx.experiments.cells import Cell, groups
from mmx.experiments.grid import Grid
from mmx.experiments.outcome import Finished
from mmx.experiments.plan import Plan
from mmx.experiments.report import report
from tests.experiments.planted import planted
from tests.experiments.tiny import tiny_plan

FEATURES = {"none": "none", "image": {"stores": ["x"]}}
END = {"end_to_end": {"encoder": "clip:mini"}}


def listed(plan: Plan) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(c.name, c.point, g.seeds) for g in groups(plan) for c in g.trials]


def test_every_features_entry_has_its_arms() -> None:
    """Each is searched for itself; a model without features is trained once."""
    plan = tiny_plan(control=["shuffle", "drop:0.3"])
    found = listed(plan)
    assert [entry for entry in found if "@" not in entry[0]] == listed(tiny_plan())
    seeds = (3, 4)
    assert [entry for entry in found if "-image" in entry[0]] == [
        ("tiny-image-vbpr-s3", "reg=0.01", seeds),
        ("tiny-image-vbpr-s3", "reg=0.1", seeds),
        ("tiny-image@shuffle-vbpr-s3", "reg=0.01", seeds),
        ("tiny-image@shuffle-vbpr-s3", "reg=0.1", seeds),
        ("tiny-image@drop-0.3-vbpr-s3", "reg=0.01", seeds),
        ("tiny-image@drop-0.3-vbpr-s3", "reg=0.1", seeds),
    ]
    assert len([entry for entry in found if "-both@" in entry[0]]) == 4


def test_a_closed_form_draws_its_control_with_every_seed() -> None:
    plan = tiny_plan(
        features=FEATURES, control=["noise", "constant"], recommenders={"itemknn-cbf": None}
    )
    assert [seeds for _, _, seeds in listed(plan)] == [(3,), (3, 4), (3,)]


def test_an_entry_may_have_arms_of_its_own() -> None:
    features = {
        **FEATURES,
        "image": {"stores": ["x"], "control": ["noise"]},
        "text": {"stores": ["y"], "control": []},
        "late": {"stores": ["z"]},
        "end": END,
    }
    plan = tiny_plan(features=features, control=["shuffle"], recommenders={"vbpr": None})
    assert [cell.split("-")[1] for cell, _, _ in listed(plan)] == [
        "image", "image@noise", "text", "late", "late@shuffle", "end",
    ]  # fmt: skip
    assert plan.controlled
    assert not tiny_plan(control=[]).controlled


def test_an_arm_takes_over_the_choice_that_its_features_take_over() -> None:
    features = {**FEATURES, "late": {"stores": ["y"], "search_as": "image", "control": ["noise"]}}
    plan = tiny_plan(features=features, recommenders={"vbpr": {"search": {"reg": [0.1, 1]}}})
    named = {group.trials[0].name: group.search_as for group in groups(plan)}
    assert named["tiny-late@noise-vbpr-s3"] == "image"
    assert named["tiny-image-vbpr-s3"] is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"control": ["shufle"]}, "plan: control shufle is unknown; did you mean 'shuffle'?"),
        ({"control": "shuffle"}, "plan.control: a list is expected, not 'shuffle'"),
        ({"control": [3]}, "plan.control[0]: str is expected, not 3"),
        ({"control": ["drop"]}, "control drop: a share is expected, as drop:0.3"),
        ({"control": ["drop:1.5"]}, "control drop:1.5: above 0 and below 1 is expected"),
        ({"control": ["noise", "noise"]}, "control: one is there twice"),
        ({"control": ["drop:0.3", "drop:0.30"]}, "control: one is there twice"),
        (
            {"features": {"none": "none"}, "control": ["noise"], "baseline": None},
            "control: no features of stores, extract or finetune; drop it",
        ),
        (
            {"features": {"e": {**END, "control": ["noise"]}}, "baseline": None},
            "plan.features.e: control is for stores, extract and finetune; drop it here",
        ),
        ({"features": {"n": {"control": ["noise"]}}, "baseline": None}, "features.n: control is"),
        ({"controls": ["noise"]}, "unknown key 'controls'; did you mean 'control'?"),
        ({"baseline": "image@shuffle", "control": ["shuffle"]}, "no features 'image@shuffle'"),
    ],
)
def test_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError) as caught:
        tiny_plan(**changes)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("recommenders", "said"),
    [
        (
            {"bpr": None, "vbpr": {"against": "bpt"}},
            "recommenders.vbpr: against: 'bpt' is not a recommender of the plan without features; "
            "did you mean 'bpr'?",
        ),
        ({"vbpr": {"against": "bpr"}}, "'bpr' is not a recommender of the plan without features"),
        ({"bpr": None, "ease": {"against": "bpr"}}, "against: ease uses none itself"),
    ],
)
def test_against_what_there_is(recommenders: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError) as caught:
        groups(tiny_plan(features=FEATURES, recommenders=recommenders))
    assert said in str(caught.value)


SMALL: dict[str, Any] = {
    "features": {"none": "none", "image": {"extract": [{"model": "toy", "use": ["image"]}]}},
    "recommenders": {"bpr": None, "vbpr": None, "itemknn-cbf": None},
    "training": {"epochs": 1},
    "control": ["shuffle", "constant"],
}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Grid]:
    """A small plan with controls, run, with its report written."""
    out = tmp_path_factory.mktemp("controls")
    grid = Grid(tiny_plan(**SMALL), out)
    report(grid, grid.run())
    return out, grid


def test_runs_are_of_their_control_and_seed(done: tuple[Path, Grid]) -> None:
    _, grid = done
    kept = {
        one.cell.name: json.loads((one.path / "config.json").read_text()).get("control")
        for one in grid.outcome.finished
    }
    assert kept == {
        "tiny-none-bpr-s3": None,
        "tiny-none-bpr-s4": None,
        "tiny-image-vbpr-s3": None,
        "tiny-image-vbpr-s4": None,
        "tiny-image@shuffle-vbpr-s3": {"arm": "shuffle", "seed": 3},
        "tiny-image@shuffle-vbpr-s4": {"arm": "shuffle", "seed": 4},
        "tiny-image@constant-vbpr-s3": {"arm": "constant"},
        "tiny-image@constant-vbpr-s4": {"arm": "constant"},
        "tiny-image-itemknn-cbf-s3": None,
        "tiny-image@shuffle-itemknn-cbf-s3": {"arm": "shuffle", "seed": 3},
        "tiny-image@shuffle-itemknn-cbf-s4": {"arm": "shuffle", "seed": 4},
        "tiny-image@constant-itemknn-cbf-s3": {"arm": "constant"},
    }


def test_a_digest_is_of_the_control_and_its_seed(done: tuple[Path, Grid]) -> None:
    _, grid = done
    names = [one.path.name for one in grid.outcome.finished if "itemknn" in one.cell.name]
    assert len({name.rpartition("-")[2] for name in names}) == len(names) == 4


def test_a_plan_that_gets_controls_keeps_its_runs(done: tuple[Path, Grid]) -> None:
    out, _ = done
    plain = Grid(tiny_plan(**{**SMALL, "control": []}), out)
    assert {row["state"] for row in plain.listing()} == {"finished"}
    more = Grid(tiny_plan(**{**SMALL, "control": ["shuffle", "drop:0.5"]}), out)
    states = {row["cell"]: row["state"] for row in more.listing()}
    assert states["tiny-image@shuffle-itemknn-cbf-s4"] == "finished"
    assert {state for cell, state in states.items() if "@drop" in cell} == {"to do"}


def test_tables_have_the_arm_beside_the_features(done: tuple[Path, Grid]) -> None:
    out, grid = done
    made = report(grid, grid.outcome)
    rows = [(r["recommender"], r["features"], r["control"], r["seeds"]) for r in made.table]
    assert rows == [
        ("bpr", "none", None, 2),
        ("vbpr", "image", None, 2),
        ("vbpr", "image", "shuffle", 2),
        ("vbpr", "image", "constant", 2),
        ("itemknn-cbf", "image", None, 1),
        ("itemknn-cbf", "image", "shuffle", 2),
        ("itemknn-cbf", "image", "constant", 1),
    ]
    results = pq.read_table(out / "results.parquet").to_pylist()
    assert [r["control"] for r in results[2:8]] == [None] * 2 + ["shuffle"] * 2 + ["constant"] * 2
    tests = pq.read_table(out / "significance.parquet").to_pylist()
    arms = [(t["recommender"], t["control"], t["baseline"]) for t in tests[::4]]
    assert arms == [
        (name, arm, "image") for name in ("vbpr", "itemknn-cbf") for arm in ("shuffle", "constant")
    ]
    assert len(made.embeddings) == 1  # the vectors of the store, once
    assert pq.read_table(out / "controls.parquet").to_pylist() == made.controls
    text = (out / "table.md").read_text()
    assert "| tiny | vbpr | image | shuffle | 2 |" in text
    assert "A row with a control has the same features changed" in text
    assert "- tiny: vbpr with image has recall@20 " in text
    assert len(made.words) == 2


def test_constant_features_are_those_of_no_content(done: tuple[Path, Grid]) -> None:
    """All that itemknn-cbf knows is content: it recommends nothing."""
    _, grid = done
    reached = {one.cell.name: one.metrics("test")["recall@20"] for one in grid.outcome.finished}
    assert reached["tiny-image@constant-itemknn-cbf-s3"] == 0
    assert reached["tiny-image-itemknn-cbf-s3"] > 0


def test_what_an_arm_chose_is_not_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`search_as: image` is what was chosen with the real vectors."""
    features = {**FEATURES, "late": {"stores": ["y"], "search_as": "image"}}
    plan = tiny_plan(
        features=features, control=["shuffle"], recommenders={"vbpr": {"search": {"reg": [1, 2]}}}
    )

    def cell(grid: Grid, cell: Cell, wanted: bool) -> Finished:
        good = cell.point == ("reg=1" if cell.control is None else "reg=2")
        seed, name = cell.training.seed, f"{cell.features}{cell.point}"
        found = tmp_path / f"{name}-{cell.arm}-{seed}"
        if not found.exists():
            planted(tmp_path, name, seed, 0.1, 0.2 if good else 0.1, cell.arm)
        return Finished(cell, found)

    monkeypatch.setattr(Grid, "_cell", cell)
    finished = Grid(plan, tmp_path / "out").run().finished
    assert {(f.cell.features, f.cell.arm): f.cell.point for f in finished} == {
        ("image", None): "reg=1", ("image", "shuffle"): "reg=2",
        ("late", None): "reg=1", ("late", "shuffle"): "reg=1",
    }  # fmt: skip


def test_only_arms(tmp_path: Path) -> None:
    grid = Grid(tiny_plan(**SMALL), tmp_path, only="*@shuffle-itemknn*")
    names = [one.cell.name for one in grid.run().finished]
    assert names == ["tiny-image@shuffle-itemknn-cbf-s3", "tiny-image@shuffle-itemknn-cbf-s4"]
    made = report(grid, grid.outcome)
    assert (made.controls, made.words, made.significance) == ([], [], [])
