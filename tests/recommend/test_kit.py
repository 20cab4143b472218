"""Every recommender passes the conformance kit."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mmx.errors import UnknownIdError
from mmx.recommend.features import FeatureSpec, load_features
from mmx.recommend.models import MODELS, find_model
from mmx.recommend.protocol import World
from mmx.recommend.recommendation import recommend
from mmx.recommend.run import Run, open_run
from mmx.recommend.settings import parse_settings
from mmx.recommend.training import score
from tests.recommend import kit

SMALL = {"dim": 16}  # settings that all models which have them take here
COUNTING = {"popularity", "ease", "itemknn", "slim", "rp3beta", "graph-filter", "ials", "layergcn"}
SILENT = COUNTING | {"ease-content", "l3ae", "itemknn-cbf"}  # know nothing of some pairs
UNPERSONAL = {"popularity"}  # give everyone the same list, so no club
NAMES = sorted(MODELS)


def settings(name: str) -> list[str]:
    known = find_model(name).load().Config.__dataclass_fields__
    return [f"{key}={value}" for key, value in SMALL.items() if key in known]


def learns_by_steps(name: str) -> bool:
    return not find_model(name).closed_form


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> kit.Place:
    return kit.write_place(tmp_path_factory.mktemp("clubs"))


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def run(name: str, place: kit.Place, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp(name) / "run"
    return kit.trained(place, name, out, settings=settings(name))


def test_it_ranks_the_right_items_first(run: Run, name: str) -> None:
    if name in UNPERSONAL:
        pytest.skip(f"{name} is not personal")
    assert kit.right_share(run) > 0.8


def test_a_run_moved_elsewhere_gives_the_same_lists(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "moved")
    again = open_run(tmp_path / "moved")
    assert kit.top(again) == kit.top(run)
    np.testing.assert_array_equal(kit.all_scores(again), kit.all_scores(run))


def test_the_saved_parameters_give_the_same_scores(run: Run, name: str, place: kit.Place) -> None:
    if not learns_by_steps(name):
        pytest.skip(f"{name} has no parameters to load")
    record = find_model(name)
    specs = [] if record.features == "none" else [FeatureSpec(place.store)]
    world = World(run.data.train, load_features(specs, run.data.items)[0])
    other = torch.Generator().manual_seed(99)
    model = record.load().Model(parse_settings(record, settings(name)), world, other)
    model.load_state_dict(load_file(run.path / "model.safetensors"))
    users = np.arange(len(run.data.users))
    np.testing.assert_allclose(
        score(model).scores(users), kit.all_scores(run), rtol=1e-4, atol=1e-5
    )


def test_one_user_equals_a_batch(run: Run) -> None:
    everyone, lists = kit.all_scores(run), kit.top(run)
    for number, user in enumerate(run.data.users.ids.to_pylist()):
        np.testing.assert_allclose(
            run.scorer.scores(np.array([number]))[0], everyone[number], rtol=1e-5, atol=1e-6
        )
        assert kit.top(run, [user])[user] == lists[user]


def test_an_unknown_user_is_refused(run: Run) -> None:
    with pytest.raises(UnknownIdError, match="unknown user: nobody"):
        recommend(run, ["nobody"])


def test_a_list_has_all_that_is_known_and_no_training_item(run: Run, name: str) -> None:
    known = np.isfinite(kit.all_scores(run))
    assert known.all() or name in SILENT
    train = run.data.train
    for number, items in enumerate(kit.top(run, k=len(kit.item_ids())).values()):
        taken = train.rows(np.array([number])).indices
        left = set(np.flatnonzero(known[number])) - set(taken)
        assert set(run.data.items.numbers(items)) == left
        assert len(items) == len(left)


@pytest.mark.parametrize("item", [*kit.COLD, kit.NO_IMAGE, kit.NO_TEXT, kit.NEITHER])
def test_an_item_with_a_gap_is_ranked_by_who_knows_it(run: Run, name: str, item: str) -> None:
    """A model that counts who took what does not recommend an item that nobody took."""
    unknown = item in kit.COLD and name in COUNTING
    unknown |= item == kit.NEITHER and name == "itemknn-cbf"
    lists = kit.top(run, k=len(kit.item_ids())).values()
    assert any(item in items for items in lists) != unknown


def test_a_user_with_one_item_gets_a_list(run: Run, name: str) -> None:
    found = kit.top(run, [kit.LONE_USER], k=20)[kit.LONE_USER]
    least = 5 if name == "slim" else 10  # whose weights are sparse
    assert len(found) == 20 or (name in SILENT and len(found) > least)


def test_the_seed_decides(name: str, place: kit.Place, tmp_path: Path) -> None:
    runs = [
        kit.trained(place, name, tmp_path / str(n), seed=s, epochs=3, settings=settings(name))
        for n, s in enumerate((1, 1, 2))
    ]
    first, same, other = (kit.all_scores(run) for run in runs)
    np.testing.assert_array_equal(first, same)
    assert np.array_equal(first, other) != learns_by_steps(name)
