"""Filters and splits against their definitions, user by user."""

from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmx.data.splits import SplitRule, first_of_each_pair, k_core, split_interactions
from mmx.errors import DataError, OptionError


def log(counts: list[int], *, times: bool = True, seed: int = 0) -> pa.Table:
    """User n took counts[n] distinct items, at shuffled times."""
    users = [f"u{n}" for n, count in enumerate(counts) for _ in range(count)]
    items = [f"i{j}" for count in counts for j in range(count)]
    columns = {"user_id": users, "item_id": items}
    if times:
        columns["timestamp"] = np.random.default_rng(seed).permutation(len(users))
    return pa.table(columns)


def by_user(table: pa.Table) -> dict[str, Counter]:
    counts: dict[str, Counter] = defaultdict(Counter)
    for row in table.to_pylist():
        counts[row["user_id"]][row["split"]] += 1
    return counts


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), st.integers(0, 9))
def test_random_rule(counts: list[int], seed: int) -> None:
    counts = [*counts, 25]  # one user with a test item at least
    split = by_user(split_interactions(log(counts), SplitRule("random", seed=seed)))
    for number, n in enumerate(counts):
        held = 0 if n < 3 else 2 if n < 10 else int(np.floor(0.2 * n))
        expected = {"train": n - held, "valid": held // 2, "test": held - held // 2}
        assert split[f"u{number}"] == Counter({k: v for k, v in expected.items() if v})


def test_random_rule_follows_its_seed() -> None:
    splits = [
        split_interactions(log([30] * 5), SplitRule("random", seed=s))["split"].to_pylist()
        for s in (1, 1, 2)
    ]
    assert splits[0] == splits[1] != splits[2]


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(1, 30), min_size=3, max_size=6),
    rule=st.sampled_from(["random", "leave-one-out", "temporal", "given"]),
    levels=st.sampled_from([3, 1000]),
    core=st.sampled_from([0, 2]),
    seed=st.integers(0, 99),
)
def test_a_split_does_not_hang_on_the_order_of_the_rows(
    counts: list[int], rule: str, levels: int, core: int, seed: int
) -> None:
    """Nor on which of several rows of one pair comes first; times tie where levels are few."""
    rng = np.random.default_rng(seed)
    table = log([*counts, 30, 30], times=False)
    table = pa.concat_tables([table, table.slice(0, 7)])  # some pairs twice
    n = table.num_rows
    table = table.append_column("timestamp", pa.array(rng.integers(0, levels, n)))
    if rule == "given":
        parts = ["train", "test", "valid", *rng.choice(["train", "valid", "test"], n - 3)]
        table, core = table.append_column("split", pa.array(parts)), 0
    split = [
        split_interactions(table.take(pa.array(order)), SplitRule(rule, k_core=core, seed=5))
        for order in (np.arange(n), rng.permutation(n))
    ]  # type: ignore[arg-type]
    rows = [sorted(tuple(row.values()) for row in each.to_pylist()) for each in split]
    assert rows[0] == rows[1]


def test_a_pair_of_two_parts_is_of_training() -> None:
    """Where no time says which came first: nothing that was trained on is held out too."""
    rows = [("u", "a", "test"), ("u", "a", "train"), ("u", "b", "test"), ("u", "b", "valid"),
            ("u", "c", "test")]  # fmt: skip
    users, items, split = zip(*rows, strict=True)
    table = pa.table({"user_id": users, "item_id": items, "split": split})
    found = split_interactions(table, SplitRule("given"))
    assert found["item_id"].to_pylist() == ["a", "b", "c"]
    assert found["split"].to_pylist() == ["train", "valid", "test"]


def test_leave_one_out_needs_to_know_what_came_last() -> None:
    with pytest.raises(DataError, match="--split leave-one-out needs a timestamp column"):
        split_interactions(log([5, 5], times=False), SplitRule("leave-one-out"))


def test_leave_one_out_takes_the_last_by_time() -> None:
    table = log([5, 2, 9])
    split = split_interactions(table, SplitRule("leave-one-out")).to_pylist()
    for user in ("u0", "u2"):
        rows = sorted((r for r in split if r["user_id"] == user), key=lambda r: r["timestamp"])
        assert [r["split"] for r in rows] == ["train"] * (len(rows) - 2) + ["valid", "test"]
    assert {r["split"] for r in split if r["user_id"] == "u1"} == {"train"}


def test_temporal_cuts_at_one_time_for_all() -> None:
    split = split_interactions(log([50, 50]), SplitRule("temporal")).to_pylist()
    times = {name: [r["timestamp"] for r in split if r["split"] == name]
             for name in ("train", "valid", "test")}  # fmt: skip
    assert max(times["train"]) < min(times["valid"]) <= max(times["valid"]) < min(times["test"])
    assert [len(times[name]) for name in ("train", "valid", "test")] == [80, 10, 10]


def test_a_given_split_is_kept_and_is_the_default() -> None:
    table = pa.table(
        {
            "user_id": ["u", "u", "u"],
            "item_id": ["a", "b", "c"],
            "split": ["train", "test", "valid"],
        }
    )
    assert split_interactions(table, SplitRule())["split"].to_pylist() == ["train", "test", "valid"]
    with pytest.raises(OptionError, match="k-core"):
        split_interactions(table, SplitRule("given", k_core=2))


def test_the_earliest_of_repeated_pairs_stays() -> None:
    table = pa.table(
        {
            "user_id": ["u", "u", "v", "u"],
            "item_id": ["a", "b", "a", "a"],
            "timestamp": [9, 2, 3, 1],
        }
    )
    kept = first_of_each_pair(table)
    assert kept["timestamp"].to_pylist() == [2, 3, 1]


def test_k_core_is_a_fixed_point() -> None:
    rng = np.random.default_rng(0)
    pairs = {(f"u{rng.integers(30)}", f"i{rng.integers(20)}") for _ in range(250)}
    table = pa.table({"user_id": [u for u, _ in pairs], "item_id": [i for _, i in pairs]})
    core = k_core(table, 5)
    for name in ("user_id", "item_id"):
        assert min(Counter(core[name].to_pylist()).values()) >= 5
    kept = set(zip(core["user_id"].to_pylist(), core["item_id"].to_pylist(), strict=True))
    assert kept == slow_core(pairs, 5)  # the largest such set, not just any


def slow_core(pairs: set[tuple[str, str]], k: int) -> set[tuple[str, str]]:
    while True:
        users, items = Counter(u for u, _ in pairs), Counter(i for _, i in pairs)
        kept = {(u, i) for u, i in pairs if users[u] >= k and items[i] >= k}
        if kept == pairs:
            return kept
        pairs = kept


def test_mistakes_say_what_to_do() -> None:
    table = log([5, 5], times=False)
    with pytest.raises(DataError, match="--split temporal needs a timestamp"):
        split_interactions(table, SplitRule("temporal"))
    with pytest.raises(DataError, match="--min-rating needs a rating"):
        split_interactions(table, SplitRule("random", min_rating=4))
    with pytest.raises(DataError, match="leaves nothing"):
        split_interactions(table, SplitRule("random", k_core=50))
    with pytest.raises(DataError, match="no split column"):
        split_interactions(table, SplitRule("given"))
    with pytest.raises(OptionError, match="did you mean 'temporal'"):
        SplitRule("tempral")  # type: ignore[arg-type]
    rated = table.append_column("rating", pa.array([1.0] * 10))
    with pytest.raises(DataError, match="the highest rating is 1"):
        split_interactions(rated, SplitRule("random", min_rating=4))
