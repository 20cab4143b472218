"""What a plan says of a dataset: where it is, and how it is split."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmx.bounds import SEED, check_entries, number, whole
from mmx.data.dataset import ON_UNKNOWN
from mmx.data.splits import SplitRule
from mmx.data.splits.point import is_share
from mmx.errors import OptionError, one_of

DRAWN = ("random", "users", "cold-items")  # split rules that another seed draws again


@dataclass(frozen=True)
class SampleEntry:
    """The embedded sample, drawn from a seed."""

    seed: int = 7
    items: int = 400
    users: int = 600

    def __post_init__(self) -> None:
        check_entries(self, seed=SEED, items=whole(1), users=whole(1))


@dataclass(frozen=True)
class Dataset:
    """A dataset directory, or the sample; and which interactions count and are held out."""

    data: Path | None = None
    images: Path | None = None  # folder of the pictures, if not next to the items table
    sample: SampleEntry | None = None
    split: str = "auto"
    min_rating: float | None = None
    k_core: int = 0
    split_seed: int = 0  # the same for all seeds of the plan, so that users pair
    unknown_items: str = "error"
    at: Any = None  # the point of the split: a share, a timestamp or a date
    targets: str = "all"
    folds: int = 0
    fold: int = 0
    ignore_weights: bool = False  # train without the interactions' column weight

    def __post_init__(self) -> None:
        if (self.data is None) == (self.sample is None):
            raise OptionError("give either 'data: DIR' or 'sample: {}'")
        if self.images is not None and self.sample is not None:
            raise OptionError("images: the sample has its own pictures; leave it out")
        one_of("unknown_items", self.unknown_items, ON_UNKNOWN)
        check_entries(self, min_rating=number(-math.inf), k_core=whole(0), split_seed=SEED)
        _ = self.rule

    @property
    def rule(self) -> SplitRule:
        """How the log is split."""
        return self.rule_of(self.split_seed)

    def rule_of(self, seed: int) -> SplitRule:
        """The same, drawn from another seed."""
        return SplitRule(
            self.split, self.min_rating, self.k_core, seed, self.at,  # type: ignore[arg-type]
            self.targets, self.folds, self.fold,  # type: ignore[arg-type]
        )  # fmt: skip

    @property
    def is_drawn(self) -> bool:
        """Whether another seed gives another split; cold items by a date are the same for all."""
        if self.split == "cold-items":
            return self.at is None or is_share(self.rule.point)
        return self.split in DRAWN or (self.sample is not None and self.split == "auto")
