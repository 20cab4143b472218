"""The weights of pairs that repeat: a view, a cart and a purchase of one item are one pair."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from mmx.data.splits.parts import TRAIN, codes, part_numbers, times_of
from mmx.data.splits.rule import SplitRule


def with_sums(kept: pa.Table, parts: np.ndarray, rows: pa.Table, rule: SplitRule) -> pa.Table:
    """The rows ``kept``, one a pair, each with the sum of the weights of its pair in ``rows``.

    ``parts`` (kept,) are those of the split. Of a training pair no row counts that is held out: in
    a given split one that is marked so, in a temporal one a row after the point.
    """
    held = np.zeros(len(kept), np.int64), np.zeros(len(rows), np.int64)
    if rule.rule == "given":
        held = parts, part_numbers(rows)
    elif rule.rule == "temporal":
        point = times_of(kept)[parts != TRAIN].min()
        held = times_of(kept) >= point, times_of(rows) >= point
    both = pa.concat_tables(
        [kept.select(["user_id", "item_id"]), rows.select(["user_id", "item_id"])]
    )
    users, items = (codes(both[name]) for name in ("user_id", "item_id"))
    pairs = (users * (items.max() + 1) + items) * 4 + np.concatenate(held)
    number = np.unique(pairs, return_inverse=True)[1]
    weights = rows["weight"].to_numpy()
    order = np.argsort(weights)  # so that a sum does not depend on the order of the rows
    sums = np.bincount(number[len(kept) :][order], weights[order])
    place = kept.column_names.index("weight")
    return kept.set_column(place, "weight", pa.array(sums[number[: len(kept)]]))
