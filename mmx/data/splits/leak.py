"""Whether a split lets a model learn from what comes after the test interactions."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmx.data.splits.parts import codes, times_of
from mmx.data.splits.rule import SplitRule

LEAKY = ("random", "leave-one-out")


def leaked_share(split: pa.Table) -> float:
    """Share of the test interactions that are older than the last training one of their item.

    ``split`` is that of ``split_interactions``, with a timestamp and at least one test row.
    """
    items, times = codes(split["item_id"]), times_of(split)
    train, test = (pc.equal(split["split"], name).to_numpy() for name in ("train", "test"))
    last = np.full(items.max() + 1, times.min())  # which nothing is older than
    np.maximum.at(last, items[train], times[train])
    return float((times[test] < last[items[test]]).mean())


def leak_line(split: pa.Table, rule: SplitRule) -> str | None:
    """What to say where a random or leave-one-out split leaks; None where nothing is known."""
    if rule.rule not in LEAKY or "timestamp" not in split.column_names:
        return None
    share = leaked_share(split)
    if not share:
        return None
    return (
        f"--split {rule.rule}: {100 * share:.3g} % of the test interactions are older than the "
        "last training interaction of their item, so training sees their future; --split temporal "
        "does not"
    )
