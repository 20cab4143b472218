"""Filters and splits: which interactions count, and which are held out.

All functions work on the interactions table of ``load_interactions`` and are pure; the only
randomness is the generator they are given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmx.bounds import SEED, check_options, number, whole
from mmx.errors import DataError, OptionError, one_of

TRAIN, VALID, TEST = 0, 1, 2
NAMES = ("train", "valid", "test")


@dataclass(frozen=True)
class SplitRule:
    """How a raw log becomes train, valid and test."""

    rule: Literal["auto", "given", "random", "leave-one-out", "temporal"] = "auto"
    min_rating: float | None = None  # keep interactions rated at least this
    k_core: int = 0  # least interactions of every user and every item; 0 keeps all
    seed: int = 0  # of the random rule and of ties in time

    def __post_init__(self) -> None:
        one_of("--split", self.rule, ("auto", "given", "random", "leave-one-out", "temporal"))
        check_options(self, min_rating=number(-math.inf), k_core=whole(0), seed=SEED)

    def resolved(self, table: pa.Table) -> SplitRule:
        """The rule "auto" stands for: the file's own split where it has one, else random."""
        if self.rule != "auto":
            return self
        return replace(self, rule="given" if "split" in table.column_names else "random")


def split_interactions(table: pa.Table, rule: SplitRule) -> pa.Table:
    """Filter and split: (user_id, item_id [, timestamp], split), one row per user and item.

    A user who took an item several times keeps the first time. Raises DataError when the
    rule needs a column that is absent or nothing is left, OptionError on contradictions.
    """
    rule = rule.resolved(table)
    if rule.rule == "given" and "split" not in table.column_names:
        raise DataError("the interactions have no split column; choose --split random or another")
    if rule.rule == "given" and rule.k_core:
        raise OptionError("--k-core would change a given split; choose --split random or another")
    if rule.min_rating is not None:
        table = _rated(table, rule.min_rating)
    table = first_of_each_pair(table)
    if rule.k_core:
        table = k_core(table, rule.k_core)
    if rule.rule == "given":
        split = table["split"].combine_chunks()
    else:
        split = pa.array(np.array(NAMES, dtype=object)[_assign(table, rule)])
    columns = {"user_id": table["user_id"], "item_id": table["item_id"]}
    if "timestamp" in table.column_names:
        columns["timestamp"] = table["timestamp"]
    result = pa.table({**columns, "split": split.cast(pa.string())})
    for name in ("train", "test"):
        if not pc.any(pc.equal(result["split"], name)).as_py():
            raise DataError(f"the split has no {name} interactions; lower --k-core or --min-rating")
    return result


def _rated(table: pa.Table, least: float) -> pa.Table:
    if "rating" not in table.column_names:
        raise DataError("--min-rating needs a rating column; the interactions have none")
    kept = table.filter(pc.greater_equal(table["rating"], least))
    if not kept.num_rows:
        high = pc.max(table["rating"]).as_py()
        raise DataError(f"--min-rating {least:g} leaves nothing; the highest rating is {high:g}")
    return kept


def first_of_each_pair(table: pa.Table) -> pa.Table:
    """One row per (user, item): the earliest in time, else the first in the file."""
    users, items = _codes(table["user_id"]), _codes(table["item_id"])
    times = _times(table)
    order = np.lexsort((np.arange(len(users)), times, items, users))
    new = np.ones(len(order), dtype=bool)
    new[1:] = (np.diff(users[order]) != 0) | (np.diff(items[order]) != 0)
    if new.all():
        return table
    return table.take(pa.array(np.sort(order[new])))


def k_core(table: pa.Table, k: int) -> pa.Table:
    """Drop users and items with fewer than k interactions until none is left to drop."""
    users, items = _codes(table["user_id"]), _codes(table["item_id"])
    keep = np.arange(len(users))
    while len(keep):
        few_u = np.bincount(users[keep])[users[keep]] < k
        few_i = np.bincount(items[keep])[items[keep]] < k
        if not (few_u | few_i).any():
            return table.take(pa.array(keep))
        keep = keep[~(few_u | few_i)]
    raise DataError(f"--k-core {k} leaves nothing; choose a smaller k")


def _assign(table: pa.Table, rule: SplitRule) -> np.ndarray:
    if rule.rule == "temporal":
        if "timestamp" not in table.column_names:
            raise DataError("--split temporal needs a timestamp column; the interactions have none")
        return _temporal(_times(table))
    users = _codes(table["user_id"])
    shuffle = np.random.default_rng(rule.seed).random(len(users))
    if rule.rule == "random":
        return _random(users, shuffle)
    return _leave_one_out(users, _times(table), shuffle)


def _random(users: np.ndarray, shuffle: np.ndarray) -> np.ndarray:
    """Per user: n < 10 gives one to valid and one to test, else ⌊0.2 n⌋ halved, the odd to test.

    Users with fewer than three interactions stay in training.
    """
    n, place = _places(users, shuffle)
    held = np.where(n < 10, 2, n // 5) * (n >= 3)
    valid = held // 2
    return np.where(place < valid, VALID, np.where(place < held, TEST, TRAIN))


def _leave_one_out(users: np.ndarray, times: np.ndarray, shuffle: np.ndarray) -> np.ndarray:
    """The last interaction of a user to test, the one before to valid; ties in time at random."""
    rank = np.empty(len(users))
    rank[np.lexsort((shuffle, times))] = np.arange(len(users))
    n, place = _places(users, -rank)
    enough = n >= 3
    return np.where(enough & (place == 0), TEST, np.where(enough & (place == 1), VALID, TRAIN))


def _temporal(times: np.ndarray) -> np.ndarray:
    """One global time point each: the last tenth is test, the tenth before it valid."""
    first_valid, first_test = np.quantile(times, [0.8, 0.9], method="higher")
    return np.where(times >= first_test, TEST, np.where(times >= first_valid, VALID, TRAIN))


def _places(users: np.ndarray, key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per row: how many rows its user has, and its place among them by rising key."""
    order = np.lexsort((key, users))
    counts = np.bincount(users)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    place = np.empty(len(users), dtype=np.int64)
    place[order] = np.arange(len(users)) - starts[users[order]]
    return counts[users], place


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    """Ids as numbers in order of first appearance."""
    encoded = column.combine_chunks().dictionary_encode()
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def _times(table: pa.Table) -> np.ndarray:
    if "timestamp" not in table.column_names:
        return np.arange(table.num_rows)  # file order stands in for time
    return table["timestamp"].to_numpy()
