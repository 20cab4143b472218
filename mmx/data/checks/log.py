"""The interactions of a dataset: counts after each filter, the split, popularity."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmx.data.inequality import gini_of
from mmx.data.splits import SplitRule, leaked_share, split_interactions
from mmx.data.splits.parts import NAMES, codes, part_numbers
from mmx.errors import DataError

TOP = (1, 10, 50)  # per cent of the items


@dataclass
class LogReport:
    """Counts and shares of interactions; None where there is nothing to count."""

    steps: list[dict[str, Any]] = field(default_factory=list)  # read, then after each filter
    split: dict[str, Any] = field(default_factory=dict)
    popularity: dict[str, float] = field(default_factory=dict)


def check_log(table: pa.Table, catalogue: pa.ChunkedArray, rule: SplitRule) -> LogReport:
    """Filter and split as ``mmx train`` does, and count.

    ``table`` is that of ``load_interactions``, ``catalogue`` all item ids. Where the rule cannot
    split the log the report has the reason instead. Raises OptionError for contradictions.
    """
    rule, found = rule.resolved(table), LogReport()
    latest = table
    found.steps.append(_counts("read", table))

    def after(why: str, left: pa.Table) -> None:
        nonlocal latest
        same = len(left) == len(latest)
        counts = {name: found.steps[-1][name] for name in ("interactions", "users", "items")}
        found.steps.append({"step": why, **counts} if same else _counts(why, left))
        latest = left

    try:
        split = split_interactions(table, rule, filtered=after)
    except DataError as error:
        found.split = {"rule": rule.rule, "impossible": str(error)}
    else:
        found.split = {"rule": rule.rule, "seed": rule.seed, **_of_split(split, catalogue)}
        if rule.rule == "given":
            found.split["pairs_in_two_parts"] = pairs_in_two_parts(table)
    found.popularity = popularity(np.bincount(codes(latest["item_id"])))
    return found


def popularity(counts: np.ndarray) -> dict[str, float]:
    """Shares of all interactions that the most popular items have, and the Gini coefficient.

    ``counts`` (items,) are above 0. ``top_10``: the share of the first tenth of the items, at
    least of one. Gini: 0 where all items have as many, near 1 where one has nearly all.
    """
    falling = np.sort(counts)[::-1].astype(np.float64)
    n, total = len(falling), falling.sum()
    shares = {f"top_{p}": float(falling[: max(1, round(n * p / 100))].sum() / total) for p in TOP}
    return {**shares, "gini": gini_of(counts)}


def pairs_in_two_parts(table: pa.Table) -> int:
    """Pairs of user and item that occur in more than one part of a given split."""
    users, items, parts = codes(table["user_id"]), codes(table["item_id"]), part_numbers(table)
    pairs = users * (items.max() + 1) + items
    order = np.lexsort((parts, pairs))
    pairs, parts = pairs[order], parts[order]
    another = (pairs[1:] == pairs[:-1]) & (parts[1:] != parts[:-1])
    return len(np.unique(pairs[1:][another]))


def _counts(step: str, table: pa.Table) -> dict[str, Any]:
    """Interactions, users and items."""
    distinct = {name: int(pc.count_distinct(table[f"{name[:-1]}_id"]).as_py())
                for name in ("users", "items")}  # fmt: skip
    return {"step": step, "interactions": len(table), **distinct}


def _of_split(split: pa.Table, catalogue: pa.ChunkedArray) -> dict[str, Any]:
    """The parts, and what a model cannot learn or should not know."""
    parts = {name: split.filter(pc.equal(split["split"], name)) for name in NAMES}
    train, test = parts["train"], parts["test"]
    known = pa.concat_tables([train, parts["fold-in"]])
    trained, taken = pc.unique(train["item_id"]), pc.unique(split["item_id"])
    cold = pc.invert(pc.is_in(test["item_id"], value_set=trained))
    timed = "timestamp" in split.column_names
    return {
        "parts": {n: _counts(n, part) for n, part in parts.items() if len(part)},
        "leaked_share": leaked_share(split) if timed else None,
        "users_without_test": _without(split["user_id"], test["user_id"]),
        "test_users_without_training": _without(test["user_id"], known["user_id"]),
        "items_never_in_training": _without(catalogue, trained),
        "items_without_interaction": _without(catalogue, taken),
        "test_interactions_with_such_items": int(pc.sum(cold).as_py() or 0),
    }


def _without(ids: pa.ChunkedArray, others: pa.ChunkedArray) -> int:
    """How many different ids are not among others."""
    there = pc.is_in(pc.unique(ids), value_set=pc.unique(others))
    return int(pc.sum(pc.invert(there)).as_py() or 0)
