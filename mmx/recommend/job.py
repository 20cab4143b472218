"""A training job: which recommender, on which data."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from mmx.data.csvs.format import PLAIN, CsvFormat
from mmx.data.dataset import ON_UNKNOWN
from mmx.data.splits import SplitRule
from mmx.errors import one_of
from mmx.extract.naming import default_name, default_store
from mmx.files import Place, as_place
from mmx.kinds import must_be, texts
from mmx.own.code import Code, Codes, as_codes
from mmx.recommend.controls import Control
from mmx.recommend.expected import Expected
from mmx.recommend.features import FeatureSpec
from mmx.recommend.models import find_model
from mmx.recommend.options import TrainOptions

if TYPE_CHECKING:
    from mmx.recommend.end_to_end import EndToEndJob
    from mmx.recommend.records import ModelRecord


FeatureSource = FeatureSpec | Place | str  # a store, or "STORE:image,text"
FeatureSources = FeatureSource | Sequence[FeatureSource]


def as_specs(sources: FeatureSources) -> list[FeatureSpec]:
    """One source, or several, as a list of specs. Raises OptionError for other things."""
    given: Any = sources
    several = isinstance(given, Iterable) and not isinstance(given, (str, os.PathLike))
    return [FeatureSpec.of(one) for one in (given if several else [given])]


@dataclass(frozen=True)
class TrainJob:
    """Which recommender to train, on which data."""

    data: Place | str
    model: str | type = "vbpr"  # a name, mine.py:Model, or a GradientModel or ClosedModel
    features: FeatureSources = ()  # ``specs`` is what they become
    settings: Sequence[str] = ()  # of the model, each NAME=VALUE
    split: SplitRule = field(default_factory=SplitRule)
    unknown_items: str = "error"  # or "drop"
    csv: CsvFormat = PLAIN  # how CSV tables in ``data`` are written
    training: TrainOptions = field(default_factory=TrainOptions)  # of a closed form: its seed
    end_to_end: EndToEndJob | None = None  # in place of ready features
    code: Codes = ()  # files and modules that ``model`` may run; ``codes`` is what they become
    images: Place | str | None = None  # end to end: folder of the pictures, as mmx extract has it
    ignore_weights: bool = False  # train as if the interactions had no column ``weight``
    control: str | None = None  # shuffle, noise, constant, drop:0.3; ``arm`` is what it becomes
    expected: Expected | None = None  # what it has to read, where it repeats a run

    def __post_init__(self) -> None:
        one_of("--unknown-items", self.unknown_items, ON_UNKNOWN)
        as_place(self.data)  # refuses what is not a path
        specs = as_specs(self.features)
        self._check_kinds()
        object.__setattr__(self, "code", as_codes(self.code))
        object.__setattr__(self, "features", specs)
        object.__setattr__(self, "settings", texts("settings", self.settings))

    def _check_kinds(self) -> None:
        if not isinstance(self.model, type):
            must_be("model", self.model, str)
        must_be("split", self.split, SplitRule)
        must_be("csv", self.csv, CsvFormat)
        must_be("ignore_weights", self.ignore_weights, bool)
        must_be("training", self.training, TrainOptions)
        if self.end_to_end is not None:
            from mmx.recommend.end_to_end import EndToEndJob

            must_be("end_to_end", self.end_to_end, EndToEndJob)
        must_be("control", self.control, str | None)
        must_be("expected", self.expected, Expected | None)
        _ = self.arm

    @property
    def specs(self) -> list[FeatureSpec]:
        """What ``features`` became, however they were given."""
        return cast(list[FeatureSpec], self.features)

    @property
    def arm(self) -> Control | None:
        """What ``control`` names. Raises OptionError where there is no such control."""
        return None if self.control is None else Control.parse(self.control)

    @property
    def record(self) -> ModelRecord:
        """Of the model; see ``find_model``, which may run code of the user's own."""
        return find_model(self.model, cast(tuple[Code, ...], self.code))

    @property
    def name(self) -> str:
        """What the run is called where the user names none: ``vbpr-clip``."""
        stems = [spec.path.name.removesuffix(".parquet") for spec in self.specs]
        if self.end_to_end is not None:
            stems += [default_store(self.end_to_end.encoder).stem, "end-to-end"]
        stems += [] if self.arm is None else [self.arm.name]
        return "-".join([default_name(self.record.name), *stems])
