"""What is said of the lengths of lists that another program made."""

from __future__ import annotations

import pyarrow as pa

from mmx.recommend.interactions import Interactions
from mmx.recommend.list_files import cleaned, lines_of, read_lists

ITEMS = [f"i{n}" for n in range(8)]


def test_a_list_of_all_that_can_be_in_it_is_not_short() -> None:
    """Of eight items one user trained on three, and the other on one."""
    took = {"a": ITEMS[:3], "b": ITEMS[:1]}
    rows = [(u, i, "train") for u, items in took.items() for i in items]
    rows += [("a", "i6", "test"), ("b", "i7", "test")]
    users, items, split = zip(*rows, strict=True)
    log = pa.table({"user_id": users, "item_id": items, "split": split})
    data = Interactions.from_table(log, pa.array(ITEMS))
    for lost, said in ((0, []), (1, ["2 of 2"])):
        listed = [(u, i, n) for u in took for n, i in enumerate(ITEMS[: len(ITEMS) - lost])
                  if i not in took[u]]  # fmt: skip
        users, items, ranks = zip(*listed, strict=True)
        raw = read_lists(pa.table({"user_id": users, "item_id": items, "rank": ranks}))
        lines = list(lines_of(cleaned(raw, data), data, 8))
        assert [line[:6] for line in lines] == said
