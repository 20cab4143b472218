"""Filters and splits: which interactions count, and which are held out.

All functions work on the interactions table of ``load_interactions`` and are pure. What they
decide depends on ids, times and the seed, never on the order of the rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmx.bounds import SEED, check_options, number, whole
from mmx.data.id_order import hashes, pair_hashes
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
        """The rule that "auto" means: the file's own split where it has one, else random."""
        if self.rule != "auto":
            return self
        return replace(self, rule="given" if "split" in table.column_names else "random")


@dataclass(frozen=True)
class LeftOut:
    """How many interactions a step left out."""

    why: str  # as the user gave it, or what they are
    interactions: int
    of: int  # interactions before the step

    def __str__(self) -> str:
        return f"{self.why}: {self.interactions:,} of {self.of:,} interactions left out"


def split_interactions(
    table: pa.Table, rule: SplitRule, left_out: Callable[[LeftOut], None] = lambda what: None
) -> pa.Table:
    """Filter and split: (user_id, item_id [, timestamp], split), one row per user and item.

    Of a pair that repeats the first in time is kept. ``left_out`` is called for every step that
    leaves interactions out. Raises DataError when the rule needs a column that is
    absent or nothing is left for training or for the test, OptionError on contradictions.
    """
    rule = rule.resolved(table)
    if rule.rule == "given" and "split" not in table.column_names:
        raise DataError("the interactions have no split column; choose --split random or another")
    if rule.rule == "given" and rule.k_core:
        raise OptionError("--k-core would change a given split; choose --split random or another")
    given, lost = table, list[LeftOut]()
    for why, step in _steps(rule):
        before, table = table.num_rows, step(table)
        if table.num_rows < before:
            lost.append(LeftOut(why, before - table.num_rows, before))
            left_out(lost[-1])
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
            after = "".join(f" after {what}," for what in lost).rstrip(",")
            raise DataError(
                f"no {name} interactions: {_why_none(name, given, result, rule, after)}"
            )
    return result


def _steps(rule: SplitRule) -> Iterator[tuple[str, Callable[[pa.Table], pa.Table]]]:
    """What is filtered before the split, in order, each with its name in messages."""
    least, k = rule.min_rating, rule.k_core
    if least is not None:
        yield f"--min-rating {least:g}", lambda table: _rated(table, least)
    yield "pairs of user and item that repeat", first_of_each_pair
    if k:
        yield f"--k-core {k}", lambda table: k_core(table, k)


def _why_none(name: str, given: pa.Table, split: pa.Table, rule: SplitRule, lost: str) -> str:
    """What left a part of the split empty, and what to do."""
    if rule.rule == "given":
        return _why_none_given(name, given, rule)
    if rule.rule == "temporal":
        return f"four fifths of the rest have the earliest timestamp{lost}; choose --split random"
    most = pc.max(pc.value_counts(split["user_id"]).field("counts")).as_py()
    ways = [] if rule.min_rating is None else ["lower --min-rating"]
    ways += ["choose --split temporal"] if "timestamp" in split.column_names else []
    ways += ["mark some in a column split"]
    return (
        f"--split {rule.rule} holds some out of users with at least 3 interactions, the most of "
        f"any is {most}{lost}; {' or '.join(ways)}"
    )


def _why_none_given(name: str, given: pa.Table, rule: SplitRule) -> str:
    """The same for a split that the file gives: it has none, or a step left all of them out."""
    there = _marked(given, name)
    for why, step in _steps(rule):
        given = step(given)
        if there and not _marked(given, name):
            return f"{why} leave out all {there:,} that the column split marks as such; mark others"
    return "the column split marks none as such; mark some, or choose --split random"


def _marked(table: pa.Table, name: str) -> int:
    return int(pc.sum(pc.equal(table["split"], name)).as_py() or 0)


def _rated(table: pa.Table, least: float) -> pa.Table:
    if "rating" not in table.column_names:
        raise DataError("--min-rating needs a rating column; the interactions have none")
    kept = table.filter(pc.greater_equal(table["rating"], least))
    if not kept.num_rows:
        high = pc.max(table["rating"]).as_py()
        raise DataError(f"--min-rating {least:g} leaves nothing; the highest rating is {high:g}")
    return kept


def first_of_each_pair(table: pa.Table) -> pa.Table:
    """One row per (user, item): the earliest, at equal times train before valid before test."""
    users, items = _codes(table["user_id"]), _codes(table["item_id"])
    split = _part_numbers(table)
    times = _times(table) if "timestamp" in table.column_names else np.zeros(len(users))
    order = np.lexsort((split, times, items, users))
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
    if rule.rule != "random" and "timestamp" not in table.column_names:
        raise DataError(
            f"--split {rule.rule} needs a timestamp column; the interactions have none (a "
            "timestamp may be a row number); or choose --split random"
        )
    if rule.rule == "temporal":
        return _temporal(_times(table))
    users = _codes(table["user_id"])
    if rule.rule == "random":
        return _random(users, _drawn(table, rule.seed))
    return _leave_one_out(users, _times(table), _drawn(table, rule.seed))


def _drawn(table: pa.Table, seed: int) -> np.ndarray:
    """A number for each row by which to draw: (rows,) uint64 of the seed and the two ids."""
    return pair_hashes(*(_hashes(table[name], seed) for name in ("user_id", "item_id")))


def _hashes(column: pa.ChunkedArray, seed: int) -> np.ndarray:
    """(rows,) hashes, each different id hashed once."""
    encoded = column.combine_chunks().dictionary_encode()
    return hashes(encoded.dictionary, seed)[encoded.indices.to_numpy(zero_copy_only=False)]


def _random(users: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Per user: n < 10 gives one to valid and one to test, else ⌊0.2 n⌋ halved, the odd to test.

    Users with fewer than three interactions stay in training.
    """
    n, place = _places(users, drawn)
    held = np.where(n < 10, 2, n // 5) * (n >= 3)
    valid = held // 2
    return np.where(place < valid, VALID, np.where(place < held, TEST, TRAIN))


def _leave_one_out(users: np.ndarray, times: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """The last interaction of a user to test, the one before to valid; ties in time are drawn."""
    rank = np.empty(len(users))
    rank[np.lexsort((drawn, times))] = np.arange(len(users))
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
    return table["timestamp"].to_numpy()


def _part_numbers(table: pa.Table) -> np.ndarray:
    """TRAIN, VALID or TEST of each row; all alike where the table does not say."""
    if "split" not in table.column_names:
        return np.zeros(table.num_rows, dtype=np.int64)
    return pc.index_in(table["split"], pa.array(NAMES)).to_numpy()
