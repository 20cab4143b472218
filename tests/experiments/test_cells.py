"""From a plan to its cells, with tables."""

from __future__ import annotations

from typing import Any

import pytest

from mmx.errors import OptionError
from mmx.experiments.cells import groups
from mmx.recommend.models import find_model
from mmx.recommend.options import TrainOptions
from tests.experiments.tiny import tiny_plan

FEATURES = {
    "none": "none",
    "image": {"stores": ["x"]},
    "late": {"stores": ["y"], "search_as": "image"},
}
END = {"e2e": {"end_to_end": {"encoder": "clip:mini"}}, "none": "none"}


def test_the_whole_grid() -> None:
    listed = [
        (cell.name, cell.point, tuple(seed for seed in group.seeds))
        for group in groups(tiny_plan())
        for cell in group.trials
    ]
    assert listed == [
        ("tiny-none-bpr-s3", "", (3, 4)),
        ("tiny-image-vbpr-s3", "reg=0.01", (3, 4)),
        ("tiny-image-vbpr-s3", "reg=0.1", (3, 4)),
        ("tiny-both-vbpr-s3", "reg=0.01", (3, 4)),
        ("tiny-both-vbpr-s3", "reg=0.1", (3, 4)),
        ("tiny-none-ease-s3", "", (3,)),  # nothing is drawn: one run
    ]


def test_a_closed_form_that_draws_something_runs_with_every_seed() -> None:
    (group,) = groups(tiny_plan(recommenders={"ials": None}, baseline=None, features=FEATURES))
    assert group.seeds == (3, 4)


def test_seeds_go_to_training_and_the_winner_is_kept() -> None:
    group = groups(tiny_plan())[1]
    cells = group.cells(group.trials[1])
    assert [cell.training.seed for cell in cells] == [3, 4]
    assert cells[0] == group.trials[1]
    assert {cell.settings for cell in cells} == {("reg=0.1",)}


def test_lists_are_kept_by_models_of_both_kinds() -> None:
    """By a plan's training or a recommender's; it is described only where it is set."""
    kept = {"keep_lists": 50}
    for options in (
        {"training": kept, "recommenders": {"ease": None, "bpr": None}},
        {"recommenders": {"ease": {"training": kept}, "bpr": {"training": kept}}},
    ):
        for group in groups(tiny_plan(features={"none": "none"}, baseline=None, **options)):
            training = group.trials[0].training.described_for(find_model(group.trials[0].model))
            assert training is not None
            assert training["keep_lists"] == 50
    for model in ("ease", "ials", "bpr"):
        assert "keep_lists" not in (TrainOptions().described_for(find_model(model)) or {})


def test_what_goes_before_what() -> None:
    """Training options: plan < recommender < features < search; settings likewise."""
    search = {"lr": [1e-2, "1e-3"], "reg": [0.5]}
    own = {"settings": {"reg": 9, "dim": 8, "normalise": False}, "training": {"patience": 7}}
    plan = tiny_plan(
        features={"image": {"stores": ["x"], "training": {"epochs": 9}}},
        recommenders={"mine": {"model": "vbpr", "search": search, **own}},
        training={"epochs": 1, "patience": 1, "lr": 0.5, "batch_size": 64},
    )
    (group,) = groups(plan)
    assert [cell.point for cell in group.trials] == ["lr=0.01 reg=0.5", "lr=1e-3 reg=0.5"]
    first, second = group.trials
    assert first.settings == ("reg=0.5", "dim=8", "normalise=false")
    options = first.training
    assert (options.epochs, options.patience, options.batch_size) == (9, 7, 64)
    assert (first.training.lr, second.training.lr) == (0.01, 0.001)
    assert (first.recommender, first.model) == ("mine", "vbpr")


@pytest.mark.parametrize(
    ("recommender", "used"),
    [("bpr", ["none"]), ("vbpr", ["e2e"]), ("ease", ["none"]), ("lattice", ["e2e"])],
)
def test_who_is_run_with_what(recommender: str, used: list[str]) -> None:
    plan = tiny_plan(features=END, recommenders={recommender: None}, baseline=None)
    assert [group.trials[0].features for group in groups(plan)] == used


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"vbrp": None}, "unknown --model 'vbrp'; did you mean 'vbpr'?"),
        ({"vbpr": {"features": ["imgae"]}}, "no features 'imgae'; did you mean 'image'?"),
        ({"vbpr": {"features": ["none"]}}, "vbpr cannot use features 'none'"),
        ({"bpr": {"features": ["image"]}}, "bpr cannot use features 'image'"),
        ({"vbpr": {"settings": {"rge": 1}}}, "recommenders.vbpr: rge: vbpr has no such setting"),
        ({"vbpr": {"search": {"dim": ["x"]}}}, "recommenders.vbpr: dim=x: int is expected"),
        ({"vbpr": {"training": {"epoch": 1}}}, "unknown key 'epoch'; did you mean 'epochs'?"),
        ({"vbpr": {"training": {"seed": 1}}}, "a seed goes into 'seeds'"),
        ({"vbpr": {"search": {"lr": [0]}}}, "--lr 0: above 0 is expected"),
        ({"vbpr": {"features": ["late", "image"]}}, "search_as 'image' is not run before it"),
        ({"ease": {"search": {"lr": [0.1]}}}, "ease has a closed form; drop 'lr'"),
        ({"ease": {"search": {"keep_lists": [1]}}}, "ease has a closed form; drop 'keep_lists'"),
    ],
)
def test_refused(entry: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError) as caught:
        groups(tiny_plan(features=FEATURES, recommenders=entry))
    assert said in str(caught.value)


def test_closed_forms_are_not_trained_end_to_end() -> None:
    with pytest.raises(OptionError, match="can use none of the plan's features; add some"):
        groups(tiny_plan(features=END, recommenders={"ease-content": None}, baseline=None))
    plan = tiny_plan(features={"image": {"stores": ["x"]}}, recommenders={"bpr": None})
    with pytest.raises(OptionError, match="add none: none to features"):
        groups(plan)
