"""Which datasets of a plan can have ``repeat_splits``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mmx.bounds import SEED, check, whole
from mmx.data.splits.point import is_share
from mmx.errors import OptionError

if TYPE_CHECKING:
    from mmx.experiments.plan import Dataset, FeatureEntry

DRAWN = ("random", "users", "cold-items")  # split rules that another seed draws again
MOST_SPLITS = 100


def check_repeated(
    repeat: int, datasets: Mapping[str, Dataset], features: Mapping[str, FeatureEntry]
) -> None:
    """Raise OptionError where splits cannot be repeated: they are not drawn, or one was learned."""
    check("repeat_splits: ", repeat, whole(1, MOST_SPLITS))
    for name, entry in datasets.items() if repeat > 1 else ():
        check(f"datasets.{name}.split_seed: ", entry.split_seed + repeat - 1, SEED)
        if not _is_drawn(entry):
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


def _is_drawn(entry: Dataset) -> bool:
    """Whether another seed gives another split; cold items by a date are the same for all."""
    if entry.split == "cold-items":
        return entry.at is None or is_share(entry.rule.point)
    return entry.split in DRAWN or (entry.sample is not None and entry.split == "auto")
