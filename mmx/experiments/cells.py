"""From a plan to its cells: a pure function, so that it can be tested with tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from mmx.errors import OptionError, suggestion
from mmx.experiments.plan import FeatureEntry, Plan
from mmx.experiments.search import Point, points, space_of
from mmx.experiments.yaml_records import Reader
from mmx.own.code import Code
from mmx.recommend.controls import Control
from mmx.recommend.models import ModelRecord, find_model
from mmx.recommend.models.spaces import Space
from mmx.recommend.options import TrainOptions
from mmx.recommend.settings import parse_settings

TRAINING = [f.name for f in fields(TrainOptions) if f.name != "seed"]
OF_ALL = {"keep_lists"}  # what a model with a closed form takes, too


@dataclass(frozen=True)
class Cell:
    """One run."""

    dataset: str
    features: str
    recommender: str
    model: str
    settings: tuple[str, ...]  # NAME=VALUE
    training: TrainOptions  # its seed is the cell's
    point: str = ""  # of the search: "reg=0.1 lr=0.001"
    control: Control | None = None  # what is done to the features
    split_seed: int = 0  # of a random split
    repeat: int = 0  # which of the dataset's splits; the first is the only one without repetition

    @property
    def name(self) -> str:
        """What --only matches and the start of the run directory's name."""
        arm = f"@{self.control.name}" if self.control else ""
        split = f"-split{self.split_seed}" if self.repeat else ""
        name = f"{self.dataset}-{self.features}{arm}-{self.recommender}{split}"
        return f"{name}-s{self.training.seed}"

    @property
    def arm(self) -> str | None:
        """The control as the plan has it."""
        return None if self.control is None else str(self.control)


@dataclass(frozen=True)
class Group:
    """The cells of one dataset, split, features and recommender: a search, then the seeds."""

    trials: tuple[Cell, ...]  # the points of the search with the first seed; one without a search
    seeds: tuple[int, ...]  # one for a closed form that draws nothing
    search_as: str | None = None  # the features whose choice this group takes over
    space: Space = field(default_factory=dict)  # what is searched
    points: tuple[Point, ...] = ((),)  # of the trials

    @property
    def searched(self) -> bool:
        """Whether the trials are run to choose among them."""
        return len(self.trials) > 1 and self.search_as is None

    def cells(self, chosen: Cell) -> list[Cell]:
        """The point that won, with every seed."""
        return [replace(chosen, training=replace(chosen.training, seed=s)) for s in self.seeds]


def groups(plan: Plan, code: tuple[Code, ...] = ()) -> list[Group]:
    """All the work of a plan, in its order. ``code`` is what models of the user's own may run.

    Raises OptionError where a recommender is given features that it cannot use, or a setting
    or training option that there is not.
    """
    records = {name: find_model(one.model, code) for name, one in plan.recommenders.items()}
    for name in plan.recommenders:
        _check_against(plan, name, records)
    return [
        _of_split(_group(plan, dataset, features, name, records[name], control), plan, repeat)
        for dataset in plan.datasets
        for repeat in range(plan.repeat_splits)
        for name in plan.recommenders
        for features in _usable(plan, name, records[name])
        for control in (None, *plan.arms(features))
    ]


def columns(plan: Plan, cell: Cell) -> dict[str, Any]:
    """What a cell is in the tables, but for its recommender; a column more where controls are."""
    arm = {"control": cell.arm} if plan.controlled else {}
    return {"dataset": cell.dataset, "features": cell.features, **arm}


def _of_split(group: Group, plan: Plan, repeat: int) -> Group:
    """The same on one of the dataset's splits. Each has its own search, as nobody may learn from
    a split's validation what is tested on another.
    """
    seed = plan.datasets[group.trials[0].dataset].split_seed + repeat
    trials = tuple(replace(cell, split_seed=seed, repeat=repeat) for cell in group.trials)
    return replace(group, trials=trials)


def _group(
    plan: Plan,
    dataset: str,
    features: str,
    name: str,
    record: ModelRecord,
    control: Control | None,
) -> Group:
    recommender = plan.recommenders[name]
    drawn = record.uses_seed or (control is not None and control.drawn)
    seeds = plan.seeds if drawn else plan.seeds[:1]
    own = {**plan.training, **recommender.training, **plan.features[features].training}
    search, trials = plan.search_of(name), []
    space = space_of(search, record)
    found = points(name, search, record, plan.trials, plan.search_seed)
    for point in found:
        settings = {**recommender.settings, **{k: v for k, v in point if k not in TRAINING}}
        training = {**own, **{k: v for k, v in point if k in TRAINING}}
        words = tuple(f"{key}={_word(value)}" for key, value in settings.items())
        where = f"recommenders.{name}"
        options = _options(training, where, seeds[0])
        of_loop = (*(key for key in recommender.training if key not in OF_ALL), *space)
        _check(record, of_loop, words, where)
        trials.append(
            Cell(
                dataset,
                features,
                name,
                recommender.model,
                words,
                options,
                _point_text(point) or "defaults" * (len(found) > 1),
                control,
            )
        )
    taken = plan.features[features].search_as if space else None
    return Group(tuple(trials), seeds, taken, space, tuple(found))


def _point_text(point: Point) -> str:
    return " ".join(f"{key}={_word(value)}" for key, value in point)


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _options(training: Mapping[str, Any], where: str, seed: int) -> TrainOptions:
    if "seed" in training:
        raise OptionError(f"{where}: a seed goes into 'seeds' of the plan, not into training")
    options: TrainOptions = Reader(Path()).build(TrainOptions, training, f"{where}.training")
    return replace(options, seed=seed)


def _check(
    record: ModelRecord, of_loop: tuple[str, ...], words: tuple[str, ...], where: str
) -> None:
    trained = [name for name in of_loop if name in TRAINING]
    if record.closed_form and trained:
        raise OptionError(f"{where}: {record.name} has a closed form; drop '{trained[0]}'")
    try:
        with record.blamed():
            parse_settings(record, words)
    except OptionError as error:
        raise OptionError(f"{where}: {str(error).removeprefix('--set ')}") from error


def _usable(plan: Plan, name: str, record: ModelRecord) -> list[str]:
    """The features entries a recommender is run with."""
    recommender = plan.recommenders[name]
    can = [key for key, entry in plan.features.items() if _fits(record, entry)]
    wanted = can if recommender.features is None else list(recommender.features)
    for key in wanted:
        if key not in plan.features:
            hint = suggestion(key, plan.features)
            raise OptionError(f"recommenders.{name}: no features '{key}'{hint}")
        if key not in can:
            raise OptionError(f"recommenders.{name}: {record.name} cannot use features '{key}'")
        like = plan.features[key].search_as
        if like is not None and like not in wanted[: wanted.index(key)]:
            raise OptionError(
                f"features.{key}: search_as '{like}' is not run before it with {name}; "
                "move it above"
            )
    if not wanted:
        raise OptionError(
            f"recommenders.{name}: {record.name} can use none of the plan's features; "
            f"add {'none: none' if record.features == 'none' else 'some'} to features"
        )
    return wanted


def _check_against(plan: Plan, name: str, records: Mapping[str, ModelRecord]) -> None:
    other = plan.recommenders[name].against
    without = [key for key, record in records.items() if record.features == "none"]
    if other is not None and (name in without or other not in without):
        which = f"{records[name].name} uses none itself" if name in without else (
            f"'{other}' is not a recommender of the plan without features"
            f"{suggestion(other, without) if without else ''}"
        )  # fmt: skip
        raise OptionError(f"recommenders.{name}: against: {which}")


def _fits(record: ModelRecord, entry: FeatureEntry) -> bool:
    if entry.end_to_end:
        return record.features == "required" and not record.closed_form
    return entry.empty == (record.features == "none")
