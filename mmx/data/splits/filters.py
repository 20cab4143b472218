"""Which interactions count, before any is held out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmx.data.splits.parts import codes, part_numbers, times_of
from mmx.errors import DataError


@dataclass(frozen=True)
class LeftOut:
    """How many interactions a step left out."""

    why: str  # as the user gave it, or what they are
    interactions: int
    of: int  # interactions before the step

    def __str__(self) -> str:
        return f"{self.why}: {self.interactions:,} of {self.of:,} interactions left out"


def rated(table: pa.Table, least: float) -> pa.Table:
    """Interactions rated at least ``least``. Raises DataError when there are none."""
    if "rating" not in table.column_names:
        raise DataError("--min-rating needs a rating column; the interactions have none")
    kept = table.filter(pc.greater_equal(table["rating"], least))
    if not kept.num_rows:
        high = pc.max(table["rating"]).as_py()
        raise DataError(f"--min-rating {least:g} leaves nothing; the highest rating is {high:g}")
    return kept


def first_of_each_pair(table: pa.Table) -> pa.Table:
    """One row per (user, item): the earliest, at equal times train before valid before test."""
    users, items = codes(table["user_id"]), codes(table["item_id"])
    split = part_numbers(table)
    times = times_of(table) if "timestamp" in table.column_names else np.zeros(len(users))
    order = np.lexsort((split, times, items, users))
    new = np.ones(len(order), dtype=bool)
    new[1:] = (np.diff(users[order]) != 0) | (np.diff(items[order]) != 0)
    if new.all():
        return table
    return table.take(pa.array(np.sort(order[new])))


def k_core(table: pa.Table, k: int) -> pa.Table:
    """Drop users and items with fewer than k interactions until none is left to drop."""
    users, items = codes(table["user_id"]), codes(table["item_id"])
    keep = np.arange(len(users))
    while len(keep):
        few_u = np.bincount(users[keep])[users[keep]] < k
        few_i = np.bincount(items[keep])[items[keep]] < k
        if not (few_u | few_i).any():
            return table.take(pa.array(keep))
        keep = keep[~(few_u | few_i)]
    raise DataError(f"--k-core {k} leaves nothing; choose a smaller k")
