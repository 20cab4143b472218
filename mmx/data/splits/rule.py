"""What a user says of a split."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any, Literal, cast

import pyarrow as pa

from mmx.bounds import SEED, check, check_options, number, whole
from mmx.data.splits.point import as_point, is_share
from mmx.errors import OptionError, one_of

RULES = ("auto", "given", "random", "leave-one-out", "temporal", "users", "cold-items")
TARGETS = ("all", "first", "last")
WITH_POINT = ("temporal", "users", "cold-items")
WITH_FOLDS = ("auto", "random", "users", "cold-items")
FIRST_FIELDS = ("rule", "min_rating", "k_core", "seed")  # of runs before there were others
SHARE = 0.9  # of interactions, users or items before the point


@dataclass(frozen=True)
class SplitRule:
    """How a raw log becomes train, valid and test."""

    rule: Literal["auto", "given", "random", "leave-one-out", "temporal", "users", "cold-items"] = (
        "auto"
    )
    min_rating: float | None = None  # keep interactions rated at least this
    k_core: int = 0  # least interactions of every user and every item; 0 keeps all
    seed: int = 0  # of what is drawn, and of ties in time
    at: float | int | str | date | None = None  # the point: a share, a timestamp or a date
    targets: Literal["all", "first", "last"] = "all"  # of a user after the point
    folds: int = 0  # the log is cut into so many; 0: no folds
    fold: int = 0  # which of them is the test, from 0; the next one is validation

    def __post_init__(self) -> None:
        one_of("--split", self.rule, RULES)
        one_of("--targets", self.targets, TARGETS)
        check_options(self, min_rating=number(-math.inf), k_core=whole(0), seed=SEED)
        check_options(self, folds=whole(0), fold=whole(0))
        object.__setattr__(self, "at", as_point(self.at))
        if self.at is not None:
            self._check_point()
        if self.targets != "all" and self.rule != "temporal":
            raise OptionError("--targets needs --split temporal: it says which of a user's "
                              "interactions after the point count")  # fmt: skip
        self._check_folds()

    def _check_point(self) -> None:
        if self.rule not in WITH_POINT:
            raise OptionError(f"--at needs --split {', '.join(WITH_POINT[:-1])} or "
                              f"{WITH_POINT[-1]}; --split is {self.rule}")  # fmt: skip
        if is_share(self.point):
            check("--at ", self.at, number(0.5, 1, above=True, below=True))
        elif self.rule == "users":
            raise OptionError(f"--at {self.at}: --split users takes a share, e.g. --at {SHARE}")

    def _check_folds(self) -> None:
        if not self.folds:
            if self.fold:
                raise OptionError(f"--fold {self.fold} needs --folds, e.g. --folds 5")
            return
        if self.rule not in WITH_FOLDS:
            raise OptionError(f"--folds needs --split random, users or cold-items; --split is "
                              f"{self.rule}")  # fmt: skip
        if self.at is not None:
            raise OptionError("--folds says how much is held out; drop --at")
        check("--folds ", self.folds, whole(3))  # one each for test and validation
        check("--fold ", self.fold, whole(0, self.folds - 1))

    @property
    def point(self) -> float | int | str | None:
        """What ``at`` became: a date is text."""
        return cast(float | int | str | None, self.at)

    def resolved(self, table: pa.Table) -> SplitRule:
        """The rule that "auto" means: the file's own split where it has one, else random."""
        if self.rule != "auto":
            return self
        return replace(self, rule="given" if "split" in table.column_names else "random")

    def described(self) -> dict[str, Any]:
        """For config.json: the fields; those that older runs lack only where they are set."""
        usual = asdict(SplitRule())
        return {
            name: value
            for name, value in asdict(self).items()
            if name in FIRST_FIELDS or value != usual[name] or (name == "fold" and self.folds)
        }
