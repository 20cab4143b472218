"""The column ``weight`` of interactions: what is refused, and what becomes of pairs that repeat."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mmx.data.dataset import load_interactions, load_items
from mmx.data.splits import SplitRule, split_interactions
from mmx.errors import DataError, OptionError
from tests.catalogue import write_interactions, write_items


def data(folder: Path, weight: list[Any]) -> Path:
    write_items(folder, [{"item_id": f"i{n}", "text": "a"} for n in range(len(weight))])
    pairs = [("u", f"i{n}") for n in range(len(weight))]
    write_interactions(folder, pairs, weight=weight)
    return folder


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        ([1.0, 0.0], "weight is 0.0 in row 2 .*--ignore-weights"),
        ([1.0, -3.0, 0.0], "weight is -3.0 in row 2"),
        ([float("nan"), 1.0], "weight is nan in row 1"),
        ([1.0, float("inf")], "weight is inf in row 2"),
        ([1.0, None, -1.0], "weight is None in row 2"),
        ([1.0, 2e9], "weight is 2000000000.0 in row 2"),
        ([1.0, 1e-10], "weight is 1e-10 in row 2"),
        (["1", "cart"], "weight is string .such as 'cart'"),
        ([None, None], "weight is null"),
    ],
)
def test_what_is_not_a_weight_is_one_line(tmp_path: Path, weight: list[Any], said: str) -> None:
    place = data(tmp_path, weight)
    items = load_items(place)
    with pytest.raises(DataError, match=said):
        load_interactions(place, items, weights=True)
    assert "weight" not in load_interactions(place, items).column_names
    assert "weight" not in load_interactions(place, items, weights=False).column_names


def test_kinds_of_numbers(tmp_path: Path) -> None:
    place = data(tmp_path, pa.array([1, 10], pa.uint8()).to_pylist())
    found = load_interactions(place, load_items(place), weights=True)["weight"]
    assert found.type == pa.float64()
    assert found.to_pylist() == [1.0, 10.0]
    (place / "interactions.parquet").unlink()
    (place / "interactions.csv").write_text("user_id,item_id,weight\nu,i0,2.5\nu,i1,3\n")
    assert load_interactions(place, load_items(place), weights=True)["weight"].to_pylist() == [
        2.5,
        3,
    ]
    (place / "interactions.csv").write_text("user_id,item_id\nu,i0\n")
    with pytest.raises(OptionError, match="no column weight; drop --ignore-weights"):
        load_interactions(place, load_items(place), weights=False)


def rows(seed: int = 0) -> pa.Table:
    """Some hundred interactions in which pairs repeat."""
    rng, n = np.random.default_rng(seed), 400
    return pa.table(
        {
            "user_id": [f"u{k}" for k in rng.integers(0, 12, n)],
            "item_id": [f"i{k}" for k in rng.integers(0, 12, n)],
            "timestamp": rng.permutation(n) // 3,
            "rating": rng.integers(1, 6, n).astype(float),
            "weight": rng.choice([0.1, 0.7, 3.0, 10.0], n),
        }
    )


def weights_of(split: pa.Table) -> dict[tuple[str, str, str], float]:
    listed = [split[name].to_pylist() for name in ("user_id", "item_id", "split", "weight")]
    return {(u, i, s): w for u, i, s, w in zip(*listed, strict=True)}


def slow(table: pa.Table, keep: Any) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    for row in table.to_pylist():
        if keep(row):
            pair = row["user_id"], row["item_id"]
            found[pair] = found.get(pair, 0) + row["weight"]
    return found


@pytest.mark.parametrize("name", ["random", "users", "leave-one-out", "cold-items"])
@pytest.mark.parametrize("least", [None, 3.0])
def test_a_repeated_pair_has_the_sum_whatever_the_order(name: str, least: float | None) -> None:
    table, said = rows(), list[str]()
    rule = SplitRule(name, min_rating=least)  # type: ignore[arg-type]
    found = weights_of(split_interactions(table, rule, lambda what: said.append(str(what))))
    expected = slow(table, lambda row: least is None or row["rating"] >= least)
    assert len(found) == len(expected)
    for (user, item, _), weight in found.items():
        assert weight == pytest.approx(expected[user, item], rel=1e-12)
    mixed = table.take(np.random.default_rng(1).permutation(len(table)))
    assert weights_of(split_interactions(mixed, rule)) == found
    assert "pairs of user and item that repeat, whose weights add up" in said[-1]
    bare = split_interactions(table.drop_columns(["weight"]), rule)
    with_weights = split_interactions(table, rule)
    assert bare.equals(with_weights.drop_columns(["weight"]))


@pytest.mark.parametrize("targets", ["all", "last"])
def test_what_is_after_the_point_adds_nothing_to_training(targets: str) -> None:
    table = rows()
    rule = SplitRule("temporal", at=0.8, targets=targets)  # type: ignore[arg-type]
    split = split_interactions(table, rule)
    train = split.filter(pa.compute.equal(split["split"], "train"))
    point = split_interactions(table, SplitRule("temporal", at=0.8))
    point = min(t for t, s in zip(*(point[n].to_pylist() for n in ("timestamp", "split")),
                                  strict=True) if s != "train")  # fmt: skip
    before, whole = slow(table, lambda row: row["timestamp"] < point), slow(table, lambda row: True)
    differ = 0
    for (user, item, _), weight in weights_of(train).items():
        assert weight == pytest.approx(before[user, item], rel=1e-12)
        differ += weight < whole[user, item] - 1e-9
    assert differ > 10


def test_a_given_split_adds_up_within_its_parts() -> None:
    table = pa.table(
        {
            "user_id": ["u"] * 5,
            "item_id": ["a", "a", "a", "b", "b"],
            "split": ["test", "train", "train", "test", "valid"],
            "weight": [10.0, 1.0, 2.0, 5.0, 7.0],
        }
    )
    with pytest.raises(DataError, match="no test interactions"):
        split_interactions(table, SplitRule("given"))
    more = pa.concat_tables([table, pa.table({"user_id": ["u"], "item_id": ["c"],
                                              "split": ["test"], "weight": [1.0]})])  # fmt: skip
    found = weights_of(split_interactions(more, SplitRule("given")))
    assert found == {("u", "a", "train"): 3.0, ("u", "b", "valid"): 7.0, ("u", "c", "test"): 1.0}
