"""Each pair of an exported log has the rating of the row that counts."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mmx.data.splits import SplitRule
from mmx.recommend.exporting import export_dataset


def test_the_rating_is_that_of_the_row_that_counts(tmp_path: Path) -> None:
    pairs = [(f"u{u}", f"i{i}") for u in range(3) for i in range(4)]
    table = {"user_id": ["u0", *(u for u, _ in pairs)], "item_id": ["i0", *(i for _, i in pairs)]}
    table |= {"rating": [1.0] + [5.0] * 12, "timestamp": list(range(13))}
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table(table), tmp_path / "data/interactions.parquet")
    items = pa.table({"item_id": [f"i{n}" for n in range(4)]})
    pq.write_table(items, tmp_path / "data/items.parquet")
    for least, rating in ((None, {1.0, 5.0}), (2, {5.0})):
        out = tmp_path / f"toy{least}"
        export_dataset(tmp_path / "data", "mmrec", out, rule=SplitRule(min_rating=least))
        lines = (out / f"{out.name}.inter").read_text().splitlines()[1:]
        assert {float(line.split("\t")[2]) for line in lines} == rating
        assert len(lines) == 12


def test_ids_that_look_alike_together_are_two_pairs(tmp_path: Path) -> None:
    """User "a|b" took "c" and user "a" took "b|c"."""
    rows = [
        ("a|b", "c", 1.0),
        ("a", "b|c", 5.0),
        ("a", "c", 2.0),
        ("a|b", "b|c", 3.0),
        ("a", "d", 4.0),
    ]
    users, items, ratings = zip(*rows, strict=True)
    table = pa.table({"user_id": users, "item_id": items, "rating": ratings})
    (tmp_path / "data").mkdir()
    pq.write_table(
        table.append_column("split", [["train"] * 4 + ["test"]]),
        tmp_path / "data/interactions.parquet",
    )
    pq.write_table(pa.table({"item_id": ["c", "b|c", "d"]}), tmp_path / "data/items.parquet")
    export_dataset(tmp_path / "data", "recbole", tmp_path / "toy")
    head, *lines = (tmp_path / "toy/toy.train.inter").read_text().splitlines()
    assert head.split("\t") == ["user_id:token", "item_id:token", "rating:float"]
    assert sorted(tuple(line.split("\t")) for line in lines) == sorted(
        (user, item, str(rating)) for user, item, rating in rows[:4]
    )
