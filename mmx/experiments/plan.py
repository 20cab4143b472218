"""What a plan says: datasets, features, recommenders, seeds. See docs/reproduce.md."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mmx.bounds import SEED, check, check_entries, whole
from mmx.cache.schema import DTYPES
from mmx.errors import OptionError, one_of, suggestion
from mmx.experiments.datasets import DRAWN, Dataset
from mmx.experiments.search import DEFAULT, parse_search
from mmx.experiments.yaml_records import Reader, placed, read_yaml
from mmx.extract.encoders.hardware import PRECISIONS
from mmx.extract.encoders.request import MOST_PIXELS, RESIZE_MODES
from mmx.extract.finetune import FinetuneOptions
from mmx.recommend.controls import Control
from mmx.recommend.end_to_end import EndToEndOptions
from mmx.recommend.metrics import CUTOFFS, MEASURED, METRICS
from mmx.recommend.models.spaces import Space

MOST_SPLITS = 100
MOST_TRIALS = 10_000  # of one search


@dataclass(frozen=True)
class Extraction:
    """A pre-trained encoder whose vectors are extracted; the fields are options of extract."""

    model: str
    weights: Path | None = None
    tokenizer: Path | None = None
    modalities: tuple[str, ...] | None = None  # that are encoded
    use: tuple[str, ...] = ()  # of those that the recommender sees; all when empty
    precision: str = "float32"
    dtype: str = "float32"
    batch_size: int = 32
    head: str | None = None
    image_size: int | None = None
    resize: int | None = None
    resize_mode: str | None = None

    def __post_init__(self) -> None:
        check_entries(
            self,
            batch_size=whole(1),
            image_size=whole(1, MOST_PIXELS),
            resize=whole(1, MOST_PIXELS),
        )
        one_of("precision", self.precision, PRECISIONS)
        one_of("dtype", self.dtype, DTYPES)
        if self.resize_mode is not None:
            one_of("resize_mode", self.resize_mode, RESIZE_MODES)


@dataclass(frozen=True)
class FineTuning:
    """An encoder that is fine-tuned on the catalogue and then extracted."""

    model: str
    options: FinetuneOptions
    weights: Path | None = None
    tokenizer: Path | None = None
    use: tuple[str, ...] = ()


@dataclass(frozen=True)
class EndToEndEntry:
    """An encoder that is trained with the recommender."""

    encoder: str
    options: EndToEndOptions
    weights: Path | None = None
    tokenizer: Path | None = None


@dataclass(frozen=True)
class FeatureEntry:
    """Where item features come from; nothing given means no features."""

    stores: tuple[str, ...] = ()  # PATH or PATH:image,text; {dataset} becomes its name
    extract: tuple[Extraction, ...] = ()
    finetune: FineTuning | None = None
    end_to_end: EndToEndEntry | None = None
    training: dict[str, Any] = field(default_factory=dict)  # TrainOptions that differ here
    search_as: str | None = None  # take what was chosen with these features, without a search
    control: tuple[str, ...] | None = None  # arms of these features; default: the plan's

    def __post_init__(self) -> None:
        if self.end_to_end and (self.stores or self.extract or self.finetune):
            raise OptionError("end_to_end goes alone; drop stores, extract and finetune")
        _check_control(self.control or ())
        if self.control and not self.ready:
            raise OptionError("control is for stores, extract and finetune; drop it here")

    @property
    def empty(self) -> bool:
        """Whether this is the entry without features."""
        return not (self.ready or self.end_to_end)

    @property
    def ready(self) -> bool:
        """Whether there are vectors before training, which a control can change."""
        return bool(self.stores or self.extract or self.finetune)


@dataclass(frozen=True)
class Recommender:
    """A model with its settings, and what of them is searched."""

    model: str = ""  # default: the entry's own name
    settings: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)  # TrainOptions that differ here
    search: Any = None  # lists and ranges of settings or TrainOptions by name, or "default"
    features: tuple[str, ...] | None = None  # default: all that the model can use
    against: str | None = None  # the recommender without features that its gain is over

    def __post_init__(self) -> None:
        if self.search is not None:
            object.__setattr__(self, "search", parse_search(self.search))


@dataclass(frozen=True)
class Plan:
    """The whole grid."""

    datasets: dict[str, Dataset]
    features: dict[str, FeatureEntry]
    recommenders: dict[str, Recommender]
    seeds: tuple[int, ...] = (0,)
    repeat_splits: int = 1  # random splits of each dataset, from its split_seed on
    training: dict[str, Any] = field(default_factory=dict)
    baseline: str | None = None  # a features name, compared with on the same recommender
    metrics: tuple[str, ...] = MEASURED
    control: tuple[str, ...] = ()  # arms of every features entry that names none itself
    search: Any = None  # "default": of every recommender that names no search itself
    trials: int | None = None  # points that each search tries; None: all, of lists only
    search_seed: int = 0  # of the points that are drawn

    def __post_init__(self) -> None:
        if self.search not in (None, DEFAULT):
            raise OptionError(f"search: '{DEFAULT}' is expected here; lists and ranges go into a "
                              "recommender's entry")  # fmt: skip
        check("search_seed: ", self.search_seed, SEED)
        if self.trials is not None:
            check("trials: ", self.trials, whole(1, MOST_TRIALS))
            if not any(self.search_of(name) for name in self.recommenders):
                raise OptionError("trials: no recommender is searched; add 'search: default'")
        _check_control(self.control)
        if self.control and not any(entry.ready for entry in self.features.values()):
            raise OptionError("control: no features of stores, extract or finetune; drop it")
        for what in ("datasets", "features", "recommenders"):
            _check_names(what, getattr(self, what))
        if self.baseline is not None and self.baseline not in self.features:
            hint = suggestion(self.baseline, self.features)
            raise OptionError(f"baseline: no features '{self.baseline}'{hint}")
        known = [f"{name}@{k}" for name in METRICS for k in CUTOFFS]
        for name in self.metrics:
            if name not in known:
                raise OptionError(f"metrics: no '{name}'{suggestion(name, known)}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise OptionError("seeds: give at least one, none twice")
        for seed in self.seeds:
            check("seeds: ", seed, SEED)
        check_repeated(self.repeat_splits, self.datasets, self.features)

    def search_of(self, recommender: str) -> str | Space:
        """What of a recommender is searched."""
        own: str | Space | None = self.recommenders[recommender].search
        return own if own is not None else self.search or {}

    def arms(self, features: str) -> tuple[Control, ...]:
        """The controls of a features entry."""
        entry = self.features[features]
        named = self.control if entry.control is None else entry.control
        return tuple(map(_arm, named)) if entry.ready else ()

    @property
    def controlled(self) -> bool:
        """Whether any features have controls."""
        return any(self.arms(name) for name in self.features)


def load_plan(
    path: Path, *, data: Mapping[str, Path] | None = None, base: Path | None = None
) -> Plan:
    """Read a plan. Raises OptionError on anything unknown, missing or of another kind.

    ``data`` gives directories of datasets by name instead of the plan's; relative paths are
    relative to ``base``, which is the plan's folder unless given.
    """
    plan = parse_plan(read_yaml(path), (base or path.parent).resolve())
    datasets = dict(plan.datasets)
    for name, directory in (data or {}).items():
        if name not in datasets:
            hint = suggestion(name, datasets)
            raise OptionError(f"--data {name}={directory}: the plan has no such dataset{hint}")
        datasets[name] = replace(datasets[name], data=directory, sample=None)
    return replace(plan, datasets=datasets)


def parse_plan(content: Any, base: Path) -> Plan:
    """A plan from what YAML holds."""
    if isinstance(content, dict) and isinstance(content.get("features"), dict):
        entries = content["features"].items()
        spelt = {name: {} if entry == "none" else entry for name, entry in entries}
        content = {**content, "features": spelt}
    plan: Plan = Reader(base).build(Plan, content, "plan")
    features = {name: _placed(entry, base) for name, entry in plan.features.items()}
    recommenders = {
        name: replace(entry, model=_placed_code(base, entry.model or name))
        for name, entry in plan.recommenders.items()
    }
    return replace(plan, features=features, recommenders=recommenders)


def _placed(entry: FeatureEntry, base: Path) -> FeatureEntry:
    stores = tuple(str(placed(base, text)) for text in entry.stores)
    made = tuple(replace(one, model=_placed_code(base, one.model)) for one in entry.extract)
    return replace(entry, stores=stores, extract=made)


def _placed_code(base: Path, model: str) -> str:
    """``mine.py:Model`` with the file's whole path; any other name as it is."""
    source, _, member = model.rpartition(":")
    return f"{placed(base, source)}:{member}" if source.endswith(".py") else model


def _arm(text: str) -> Control:
    return Control.parse(text, "control")


def _check_control(named: tuple[str, ...]) -> None:
    if len(set(map(_arm, named))) < len(named):
        raise OptionError("control: one is there twice")


def check_repeated(
    repeat: int, datasets: Mapping[str, Dataset], features: Mapping[str, FeatureEntry]
) -> None:
    """Raise OptionError where splits cannot be repeated: they are not drawn, or one was learned."""
    check("repeat_splits: ", repeat, whole(1, MOST_SPLITS))
    for name, entry in datasets.items() if repeat > 1 else ():
        check(f"datasets.{name}.split_seed: ", entry.split_seed + repeat - 1, SEED)
        if not entry.is_drawn:
            raise OptionError(
                f"datasets.{name}: repeat_splits needs a split that is drawn, not "
                f"'{entry.split}'; set 'split: {DRAWN[0]}', or drop repeat_splits"
            )
    for name, one in features.items() if repeat > 1 else ():
        if one.finetune and "co-interaction" in one.finetune.options.objectives:
            raise OptionError(
                f"features.{name}: co-interaction learns from one split, which others test; "
                "drop it, or repeat_splits"
            )


def _check_names(what: str, entries: dict[str, Any]) -> None:
    if not entries:
        raise OptionError(f"{what}: there are none")
    for name in entries:
        if not re.fullmatch(r"[A-Za-z0-9_.+-]+", name):
            raise OptionError(f"{what}: the name '{name}' has other than letters, digits, _ . + -")
