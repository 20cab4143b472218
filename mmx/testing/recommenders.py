"""The conformance kit: what every recommender must do, whatever its mathematics."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from safetensors.torch import load_file

from mmx.errors import UnknownIdError, first_line
from mmx.own.code import Codes
from mmx.recommend.features import FeatureSpec, load_features
from mmx.recommend.models import find_model
from mmx.recommend.protocol import GradientForm, World
from mmx.recommend.recommendation import recommend
from mmx.recommend.records import ModelRecord
from mmx.recommend.run import Run, open_run
from mmx.recommend.settings import parse_settings
from mmx.recommend.training import score
from mmx.testing import clubs
from mmx.testing.expect import expect, expect_close
from mmx.testing.steps import alike, resumed, step

SMALL = {"dim": 16}  # settings that all models which have them take here
EPOCHS, FEW = 40, 3


@dataclass(frozen=True)
class Case:
    """A model that was trained on the clubs, and what it says of itself."""

    model: str | type
    run: Run
    place: clubs.Place
    settings: tuple[str, ...] = ()
    code: Codes = ()
    personal: bool = True  # it gives users different lists
    silent: bool = False  # it knows nothing of some pairs: their score is -inf
    unknown: tuple[str, ...] | None = ()  # items that no list has; None: some, nobody knows which
    least: int = 11  # items that the user with one item gets at least, of 20

    @property
    def record(self) -> ModelRecord:
        """Of the model."""
        return find_model(self.model, self.code)

    def world(self) -> World:
        """What the model was trained on."""
        record, data = self.record, self.run.data
        specs = [] if record.features == "none" else [FeatureSpec(self.place.store)]
        return World(data.train, load_features(specs, data.items)[0])


def check_recommender(
    model: str | type,
    settings: Sequence[str] = (),
    *,
    code: Codes = (),
    personal: bool = True,
    silent: bool = False,
) -> None:
    """Train the model on a small made-up dataset and check all that is relied on.

    ``model`` is a GradientModel or ClosedModel, or what ``mmx train --model`` takes, with the
    ``code`` that it may run. ``settings`` are NAME=VALUE. A model that is not ``personal`` gives
    all users one list; a ``silent`` one scores some pairs -inf, as item-item models do. Takes some
    seconds. Raises AssertionError with the first check that fails, MmxError where the model itself
    does.
    """
    with TemporaryDirectory(prefix="mmx-testing-") as folder:
        place = clubs.write_place(Path(folder))
        wanted = (*small_settings(model, code), *settings)
        run = clubs.trained(place, model, Path(folder, "run"), settings=wanted, code=code)
        unknown = None if silent else ()
        case = Case(model, run, place, wanted, code, personal, silent, unknown)
        for check in CHECKS:
            inner = Path(folder, check.__name__)
            inner.mkdir()
            with case.record.blamed():
                _named(check, case, inner)


def small_settings(model: str | type, code: Codes = ()) -> tuple[str, ...]:
    """What makes the model small, as far as it has such settings."""
    known = {field.name for field in fields(find_model(model, code).load().Config)}
    return tuple(f"{key}={value}" for key, value in SMALL.items() if key in known)


def _named(check: Callable[[Case, Path], None], case: Case, folder: Path) -> None:
    try:
        check(case, folder)
    except AssertionError as error:
        what = (check.__doc__ or "").partition("\n")[0].rstrip(".")
        name = case.record.name
        raise AssertionError(f"{name}: not so: {what}: {first_line(error)}") from error


def ranks_the_right_items_first(case: Case, folder: Path) -> None:
    """Most users' best three items are of their own club."""
    share = clubs.right_share(case.run)
    expect(not case.personal or share > 0.8, f"{share:.2f} of them are, more than 0.80 is expected")


def is_the_same_elsewhere(case: Case, folder: Path) -> None:
    """A run moved elsewhere gives the same lists."""
    shutil.copytree(case.run.path, folder / "moved")
    again = open_run(folder / "moved")
    expect(clubs.top(again) == clubs.top(case.run), "its lists differ")
    expect_close(clubs.all_scores(again), clubs.all_scores(case.run), "scores")


def is_in_its_parameters(case: Case, folder: Path) -> None:
    """The saved parameters, in a model with other initial values, give the same scores."""
    module = case.record.load()
    if case.record.closed_form or not isinstance(module, GradientForm):
        return
    config, other = parse_settings(case.record, case.settings), torch.Generator().manual_seed(99)
    model = module.Model(config, case.world(), other)
    model.load_state_dict(load_file(case.run.path / "model.safetensors"))
    found = score(model).scores(np.arange(len(case.run.data.users)))
    expect_close(found, clubs.all_scores(case.run), "scores", rtol=1e-4, atol=1e-5)


def scores_one_user_as_in_a_batch(case: Case, folder: Path) -> None:
    """A user alone has the scores and the list that he has among all."""
    run, everyone, lists = case.run, clubs.all_scores(case.run), clubs.top(case.run)
    for number, user in enumerate(run.data.users.ids.to_pylist()):
        alone = run.scorer.scores(np.array([number]))[0]
        expect_close(alone, everyone[number], f"scores of {user}", rtol=1e-5, atol=1e-6)
        expect(clubs.top(run, [user])[user] == lists[user], f"the list of {user} differs")


def refuses_an_unknown_user(case: Case, folder: Path) -> None:
    """An unknown user is refused."""
    try:
        recommend(case.run, ["nobody"])
    except UnknownIdError as error:
        expect("unknown user: nobody" in str(error), str(error))
    else:
        raise AssertionError("nobody gets a list")


def lists_all_that_is_known(case: Case, folder: Path) -> None:
    """A list has all items with a score, and none that the user took in training."""
    known = np.isfinite(clubs.all_scores(case.run))
    expect(known.all() or case.silent, "some scores are -inf; is it silent=True?")
    data = case.run.data
    for number, items in enumerate(clubs.top(case.run, k=len(clubs.item_ids())).values()):
        taken = data.train.rows(np.array([number])).indices
        left = set(np.flatnonzero(known[number])) - set(taken)
        expect(set(data.items.numbers(items)) == left, f"user {number} gets other items")
        expect(len(items) == len(left), f"user {number} gets an item twice")


def ranks_items_with_gaps(case: Case, folder: Path) -> None:
    """Items that nobody took, and those without image or text, are in some list."""
    if case.unknown is None:
        return
    lists = clubs.top(case.run, k=len(clubs.item_ids())).values()
    for item in (*clubs.COLD, clubs.NO_IMAGE, clubs.NO_TEXT, clubs.NEITHER):
        there, expected = any(item in items for items in lists), item not in case.unknown
        expect(there == expected, f"{item} is in {'some list' if there else 'no list'}")


def gives_a_lone_user_a_list(case: Case, folder: Path) -> None:
    """A user with one item gets a list."""
    found = len(clubs.top(case.run, [clubs.LONE_USER], k=20)[clubs.LONE_USER])
    expect(found == 20 or (case.silent and found >= case.least), f"{found} items of 20")


def is_decided_by_the_seed(case: Case, folder: Path) -> None:
    """The same seed gives the same scores, another one others; a closed form may draw nothing."""
    runs = [
        clubs.trained(
            case.place, case.model, folder / str(n), seed=s, epochs=FEW, settings=case.settings,
            code=case.code,
        )
        for n, s in enumerate((1, 1, 2))
    ]  # fmt: skip
    first, same, other = (clubs.all_scores(run) for run in runs)
    expect_close(first, same, "scores of one seed")
    if case.record.uses_seed:
        expect(not np.array_equal(first, other), "another seed gives the same scores")
    else:
        expect_close(first, other, "scores of two seeds; is it seeded=True?")


def resumes_where_it_was_killed(case: Case, folder: Path) -> None:
    """A killed training ends in the weights that it would have had, to the bit."""
    module = case.record.load()
    if case.record.closed_form or not isinstance(module, GradientForm):
        return
    config = parse_settings(case.record, case.settings)
    resumed(module, config, case.run.data, case.world(), folder / "checkpoint")


def steps_in_bfloat16(case: Case, folder: Path) -> None:
    """A step under bfloat16 autocast is near the one in float32."""
    module = case.record.load()
    if case.record.closed_form or not isinstance(module, GradientForm):
        return
    config, keys = parse_settings(case.record, case.settings), case.run.data.train.keys[:64]
    users, items = (torch.from_numpy(part) for part in np.divmod(keys, len(case.run.data.items)))
    found = []
    for half in (False, True):
        model = module.Model(config, case.world(), torch.Generator().manual_seed(0))
        found.append(step(model, (users, items, items.flip(0)), half))
    alike(found[0], found[1])


CHECKS = (
    ranks_the_right_items_first,
    is_the_same_elsewhere,
    is_in_its_parameters,
    scores_one_user_as_in_a_batch,
    refuses_an_unknown_user,
    lists_all_that_is_known,
    ranks_items_with_gaps,
    gives_a_lone_user_a_list,
    is_decided_by_the_seed,
    resumes_where_it_was_killed,
    steps_in_bfloat16,
)
