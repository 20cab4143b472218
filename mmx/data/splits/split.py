"""From a log to a split: the filters, the rule, and what to say where a part is empty."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmx.data.splits.by_point import chosen_targets, temporal
from mmx.data.splits.by_user import leave_one_out, random, random_folds
from mmx.data.splits.filters import LeftOut, first_of_each_pair, k_core, rated
from mmx.data.splits.parts import NAMES, codes, drawn_rows, id_hashes, part_numbers, times_of
from mmx.data.splits.point import is_share
from mmx.data.splits.rule import SplitRule
from mmx.data.splits.weights import with_sums
from mmx.data.splits.whole import FEWEST, cold_items, held_out_users
from mmx.errors import DataError, OptionError

COLUMNS = ("user_id", "item_id", "timestamp", "weight")  # that a split keeps


def split_interactions(
    table: pa.Table,
    rule: SplitRule,
    left_out: Callable[[LeftOut], None] = lambda what: None,
    filtered: Callable[[str, pa.Table], None] = lambda why, table: None,
) -> pa.Table:
    """Filter and split: (user_id, item_id [, timestamp, weight], split), one row a pair.

    Of a pair that repeats the first in time is kept, with the sum of its weights. ``left_out`` is
    called for every step that leaves interactions out, ``filtered`` for every filter with what it
    left. Raises DataError when the rule needs a column that is absent or nothing is left for
    training or for the test, OptionError on contradictions.
    """
    rule = rule.resolved(table)
    if rule.rule == "given" and "split" not in table.column_names:
        raise DataError("the interactions have no split column; choose --split random or another")
    if rule.rule == "given" and rule.k_core:
        raise OptionError("--k-core would change a given split; choose --split random or another")
    given, lost = table, list[LeftOut]()
    for why, step in _steps(rule, "weight" in table.column_names):
        before, table = table.num_rows, step(table)
        if table.num_rows < before:
            lost.append(LeftOut(why, before - table.num_rows, before))
            left_out(lost[-1])
        filtered(why, table)
    parts = part_numbers(table) if rule.rule == "given" else _assign(table, rule)
    if "weight" in table.column_names:
        rows = given if rule.min_rating is None else rated(given, rule.min_rating)
        table = with_sums(table, parts, rows, rule)
    keep = _targets(table, parts, rule)
    if not keep.all():
        left_out(LeftOut(f"--targets {rule.targets}", int((~keep).sum()), len(keep)))
        table, parts = table.filter(pa.array(keep)), parts[keep]
    split = pa.array(np.array(NAMES, dtype=object)[parts]).cast(pa.string())
    columns = [name for name in COLUMNS if name in table.column_names]
    result = pa.table({**{name: table[name] for name in columns}, "split": split})
    for name in ("train", "test"):
        if not pc.any(pc.equal(result["split"], name)).as_py():
            after = "".join(f" after {what}," for what in lost).rstrip(",")
            raise DataError(
                f"no {name} interactions: {_why_none(name, given, result, rule, after)}"
            )
    return result


def _steps(
    rule: SplitRule, weighted: bool = False
) -> Iterator[tuple[str, Callable[[pa.Table], pa.Table]]]:
    """What is filtered before the split, in order, each with its name in messages."""
    least, k = rule.min_rating, rule.k_core
    if least is not None:
        yield f"--min-rating {least:g}", lambda table: rated(table, least)
    added = ", whose weights add up" if weighted else ""
    yield f"pairs of user and item that repeat{added}", first_of_each_pair
    if k:
        yield f"--k-core {k}", lambda table: k_core(table, k)


def _why_none(name: str, given: pa.Table, split: pa.Table, rule: SplitRule, lost: str) -> str:
    """What left a part of the split empty, and what to do."""
    if rule.rule == "given":
        return _why_none_given(name, given, rule)
    if rule.rule == "temporal":
        return (
            f"too many of the rest have the earliest timestamp{lost}; choose a later --at, or "
            "--split random"
        )
    if rule.rule in ("users", "cold-items"):
        return _why_none_whole(split, rule, lost)
    most = pc.max(pc.value_counts(split["user_id"]).field("counts")).as_py()
    ways = [] if rule.min_rating is None else ["lower --min-rating"]
    ways += ["choose --split temporal"] if "timestamp" in split.column_names else []
    ways += ["mark some in a column split"]
    return (
        f"--split {rule.rule} holds some out of users with at least 3 interactions, the most of "
        f"any is {most}{lost}; {' or '.join(ways)}"
    )


def _why_none_whole(split: pa.Table, rule: SplitRule, lost: str) -> str:
    """The same for a rule that holds out whole users or items."""
    name, least = ("user_id", FEWEST) if rule.rule == "users" else ("item_id", 1)
    counts = pc.value_counts(split[name]).field("counts")
    there = int(pc.sum(pc.greater_equal(counts, least)).as_py() or 0)
    of = f"users with at least {FEWEST} interactions" if rule.rule == "users" else "items"
    part = f"cuts them into {rule.folds} folds" if rule.folds else "needs at least 3 of them"
    return f"there are {there:,} {of}{lost}, and --split {rule.rule} {part}; choose --split random"


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


def _assign(table: pa.Table, rule: SplitRule) -> np.ndarray:
    """(rows,) TRAIN, VALID, TEST or FOLD_IN."""
    _needs_times(table, rule)
    users, drawn = codes(table["user_id"]), drawn_rows(table, rule.seed)
    if rule.rule == "temporal":
        return temporal(times_of(table), rule.point)
    if rule.rule == "users":
        return held_out_users(users, id_hashes(table["user_id"], rule.seed), drawn, rule)
    if rule.rule == "cold-items":
        times = times_of(table) if "timestamp" in table.column_names else None
        keys = id_hashes(table["item_id"], rule.seed)
        return cold_items(codes(table["item_id"]), keys, times, rule)
    if rule.rule == "leave-one-out":
        return leave_one_out(users, times_of(table), drawn)
    if rule.folds:
        starts = id_hashes(table["user_id"], rule.seed)
        return random_folds(users, drawn, starts, rule.folds, rule.fold)
    return random(users, drawn)


def _needs_times(table: pa.Table, rule: SplitRule) -> None:
    """Raise DataError where the rule needs times and there are none."""
    by_date = rule.rule == "cold-items" and rule.point is not None and not is_share(rule.point)
    if rule.rule not in ("leave-one-out", "temporal") and not by_date:
        return
    if "timestamp" not in table.column_names:
        instead = "give --at a share (0.9)" if by_date else "choose --split random"
        raise DataError(
            f"--split {rule.rule} needs a timestamp column; the interactions have none (a "
            f"timestamp may be a row number); or {instead}"
        )


def _targets(table: pa.Table, parts: np.ndarray, rule: SplitRule) -> np.ndarray:
    """(rows,) bool: those that stay, as ``--targets`` says."""
    if rule.targets == "all":
        return np.ones(len(parts), dtype=bool)
    drawn = drawn_rows(table, rule.seed)
    return chosen_targets(parts, codes(table["user_id"]), times_of(table), drawn, rule.targets)
