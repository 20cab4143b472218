"""A dataset's interactions, filtered and split: what every run is measured on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mmx.data.csvs.format import PLAIN, CsvFormat
from mmx.data.dataset import Dropped, Items, check_csv, load_interactions, load_items
from mmx.data.id_order import hash_order
from mmx.data.splits import LeftOut, SplitRule, leak_line, split_interactions
from mmx.files import Place
from mmx.recommend.contents import Content, of_log
from mmx.recommend.interactions import Interactions


@dataclass(frozen=True)
class SplitLog:
    """A catalogue and its log under a split."""

    items: Items
    order: np.ndarray  # (items,) rows of the items table by the numbers of the items
    rule: SplitRule  # resolved
    split: pa.Table
    data: Interactions
    dropped: Dropped | None
    left_out: list[LeftOut]
    contents: Content  # digests of all that was read; see ``mmx.recommend.contents``

    def lost(self) -> dict[str, Any]:
        """What config.json says of interactions that do not count."""
        return {
            "dropped": None if self.dropped is None else asdict(self.dropped),
            "left_out": [asdict(what) for what in self.left_out],
        }


def read_split(
    data: Place | str,
    rule: SplitRule,
    log: Callable[[str], None],
    *,
    images: Place | str | None = None,
    unknown: str = "error",
    csv: CsvFormat = PLAIN,
    weights: bool = True,
) -> SplitLog:
    """Read a dataset and split it; ``log`` gets a line for all that is left out.

    The arguments are those of ``load_items`` and ``load_interactions``; raises what they raise.
    """
    check_csv(csv, data, interactions=True)
    items = load_items(data, images, csv=csv)
    dropped: list[Dropped] = []
    interactions = load_interactions(
        data, items, unknown=unknown, dropped=dropped.append, csv=csv, rule=rule,
        weights=weights,
    )  # fmt: skip
    rule = rule.resolved(interactions)
    left_out: list[LeftOut] = []
    split = split_interactions(interactions, rule, left_out.append)
    for what in (*dropped, *left_out, leak_line(split, rule)):
        if what is not None:
            log(str(what))
    order = hash_order(items.ids)  # equal scores rank by it, not by a file's order
    numbered = Interactions.from_table(split, items.ids.take(pa.array(order)))
    return SplitLog(
        items, order, rule, split, numbered, dropped[0] if dropped else None, left_out,
        of_log(interactions, numbered.items),
    )  # fmt: skip
