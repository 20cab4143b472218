"""The rules with a point, whole users, cold items and folds, against their definitions."""

from collections import Counter, defaultdict
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmx.data.splits import LeftOut, SplitRule, leak_line, leaked_share, split_interactions
from mmx.errors import DataError, OptionError

YEAR = 365 * 86400
COUNTS = st.lists(st.integers(1, 12), min_size=4, max_size=9)


def log(counts: list[int], seed: int = 0, levels: int = 1000) -> pa.Table:
    """User n took counts[n] of 15 items, at times that tie where there are few levels."""
    rng = np.random.default_rng(seed)
    users = [f"u{n}" for n, count in enumerate(counts) for _ in range(count)]
    items = [f"i{j}" for count in counts for j in rng.permutation(15)[:count]]
    times = rng.integers(0, levels, len(users))
    return pa.table({"user_id": users, "item_id": items, "timestamp": times})


def split(table: pa.Table, *rule: Any, **more: Any) -> list[dict[str, Any]]:
    return split_interactions(table, SplitRule(*rule, **more)).to_pylist()


def of(rows: list[dict[str, Any]], name: str, column: str) -> list[Any]:
    return [row[column] for row in rows if row["split"] == name]


@settings(max_examples=60, deadline=None)
@given(
    counts=COUNTS,
    at=st.one_of(st.integers(1, 999), st.floats(0.51, 0.99)),
    targets=st.sampled_from(["all", "first", "last"]),
    levels=st.sampled_from([20, 1000]),
    seed=st.integers(0, 9),
)
def test_no_training_timestamp_after_the_point(
    counts: list[int], at: float, targets: Any, levels: int, seed: int
) -> None:
    table = log(counts, seed, levels)
    try:
        rows = split(table, "temporal", at=at, targets=targets, seed=seed)
    except DataError:
        return  # nothing left for a part
    train, valid, test = (of(rows, name, "timestamp") for name in ("train", "valid", "test"))
    assert max(train) < min([*valid, *test])
    assert max(valid, default=-1) < min(test)
    if isinstance(at, int):
        assert max(train + valid) < at <= min(test)
        times = np.sort(table["timestamp"].to_numpy())
        held = int((times >= at).sum())
        first_valid = times[len(times) - 2 * held]  # as many before the point as after it
        assert max(train) < first_valid <= min(valid, default=at)
    everyone = split(table, "temporal", at=at, seed=seed)
    for name in ("valid", "test"):
        mine = defaultdict(list)
        for row in everyone:
            if row["split"] == name:
                mine[row["user_id"]].append(row["timestamp"])
        if targets == "all":
            continue
        kept = {r["user_id"]: r["timestamp"] for r in rows if r["split"] == name}
        pick = min if targets == "first" else max
        assert kept == {user: pick(times) for user, times in mine.items()}
        assert len(of(rows, name, "user_id")) == len(mine)


def test_what_targets_leave_out_is_counted() -> None:
    lost: list[LeftOut] = []
    table = log([10] * 6)
    rows = split_interactions(table, SplitRule("temporal", targets="last"), lost.append)
    (what,) = lost
    assert what.why == "--targets last"
    assert what.interactions == table.num_rows - rows.num_rows > 0


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])
def test_a_date_is_in_the_unit_of_the_log(unit: int) -> None:
    start = int(datetime(2010, 1, 1, tzinfo=UTC).timestamp())
    days = np.arange(100)
    users, items = [f"u{n % 5}" for n in days], [f"i{n // 5}" for n in days]
    times = (start + 86400 * days) * unit
    table = pa.table({"user_id": users, "item_id": items, "timestamp": times})
    for at in ("2010-03-22", date(2010, 3, 22), "2010-03-21T23:00:00-01:00"):
        rows = split(table, "temporal", at=at)  # the 81st day
        assert min(of(rows, "test", "timestamp")) == times[80]
        assert [len(of(rows, name, "item_id")) for name in ("train", "valid", "test")] == [
            60, 20, 20,
        ]  # fmt: skip


def test_without_a_point_temporal_cuts_at_nine_tenths() -> None:
    table = log([12] * 9)
    assert split(table, "temporal") == split(table, "temporal", at=0.9)
    parts = [of(split(table, "temporal", at=0.7), name, "item_id") for name in ("valid", "test")]
    assert [len(part) for part in parts] == [32, 33]  # of 108; times tie


@settings(max_examples=30, deadline=None)
@given(counts=COUNTS, folds=st.sampled_from([0, 4]), seed=st.integers(0, 9))
def test_held_out_users_do_not_train(counts: list[int], folds: int, seed: int) -> None:
    table = log([*counts, 5, 7, 9, 2])
    rows = split(table, "users", folds=folds, fold=folds and 1, seed=seed)
    assert len(rows) == table.num_rows
    parts = defaultdict(Counter)
    for row in rows:
        parts[row["user_id"]][row["split"]] += 1
    for there in parts.values():
        n = sum(there.values())
        held = there["valid"] + there["test"]
        if held:
            assert not there["train"]
            assert not (there["valid"] and there["test"])
            assert held == max(1, n // 5)
            assert there["fold-in"] == n - held > 0
        else:
            assert there["train"] == n
    many = sum(n >= 2 for n in [*counts, 5, 7, 9, 2])
    tested = sum(1 for there in parts.values() if there["test"])
    assert tested == (len(range(1, many, 4)) if folds else max(1, round(0.1 * many)))


@settings(max_examples=40, deadline=None)
@given(
    at=st.sampled_from([None, 0.7, 30, 100]),
    folds=st.sampled_from([0, 5]),
    seed=st.integers(0, 9),
)
def test_a_cold_item_has_no_training_row(at: float | None, folds: int, seed: int) -> None:
    table = log([9] * 6, seed)
    rule = SplitRule("cold-items", at=None if folds else at, folds=folds, seed=seed)
    try:
        rows = split_interactions(table, rule).to_pylist()
    except DataError:
        assert isinstance(at, int)
        return
    sets = [set(of(rows, name, "item_id")) for name in ("train", "valid", "test")]
    everything = set(table["item_id"].to_pylist())
    assert sum(map(len, sets)) == len(set.union(*sets)) == len(everything)
    if isinstance(at, int) and not folds:
        first: dict[str, int] = {}
        for row in table.to_pylist():
            first[row["item_id"]] = min(row["timestamp"], first.get(row["item_id"], 10**9))
        assert sets[2] == {item for item, time in first.items() if time >= at}
        assert max(first[i] for i in sets[0]) < min(first[i] for i in sets[1] | sets[2])
    elif not folds:
        assert len(sets[2]) == len(sets[1]) == max(1, round((1 - (at or 0.9)) * len(everything)))


@settings(max_examples=30, deadline=None)
@given(counts=COUNTS, folds=st.integers(3, 6), rule=st.sampled_from(["random", "cold-items"]))
def test_folds_partition_the_log(counts: list[int], folds: int, rule: Any) -> None:
    table = log([*counts, 12, 12])
    tested, validated = Counter(), Counter()
    for fold in range(folds):
        rows = split(table, rule, folds=folds, fold=fold)
        tested += Counter((r["user_id"], r["item_id"]) for r in rows if r["split"] == "test")
        validated += Counter((r["user_id"], r["item_id"]) for r in rows if r["split"] == "valid")
        if rule == "random":
            for user, n in Counter(table["user_id"].to_pylist()).items():
                mine = sum(r["user_id"] == user and r["split"] == "test" for r in rows)
                assert n // folds <= mine <= -(-n // folds)
    pairs = Counter(zip(*(table[c].to_pylist() for c in ("user_id", "item_id")), strict=True))
    assert tested == validated == pairs


@pytest.mark.parametrize(
    "rule",
    [
        SplitRule("random", folds=4, fold=3, seed=1),
        SplitRule("users", seed=1),
        SplitRule("users", folds=3, seed=1),
        SplitRule("cold-items", seed=1),
        SplitRule("temporal", at=500, targets="first", seed=1),
    ],
)
def test_the_same_seed_is_the_same_split_in_any_order_of_rows(rule: SplitRule) -> None:
    table = log([9] * 12, levels=10**3 if rule.rule != "temporal" else 800)
    mixed = table.take(np.random.default_rng(0).permutation(table.num_rows))
    first, again = (
        sorted(tuple(row.values()) for row in split_interactions(t, rule).to_pylist())
        for t in (table, mixed)
    )
    assert first == again
    if rule.rule != "temporal":
        fields = {"folds": rule.folds, "fold": rule.fold}
        other = split_interactions(table, SplitRule(rule.rule, seed=2, **fields)).to_pylist()
        assert first != sorted(tuple(row.values()) for row in other)


@settings(max_examples=30, deadline=None)
@given(counts=COUNTS, rule=st.sampled_from(["random", "leave-one-out", "temporal"]))
def test_the_share_that_leaks_is_that_of_a_loop(counts: list[int], rule: Any) -> None:
    table = split_interactions(log([*counts, 12, 12, 12], levels=40), SplitRule(rule))
    rows = table.to_pylist()
    leaks = []
    for row in rows:
        if row["split"] == "test":
            others = [
                r["timestamp"] for r in rows
                if r["split"] == "train" and r["item_id"] == row["item_id"]
            ]  # fmt: skip
            leaks.append(bool(others) and row["timestamp"] < max(others))
    assert leaked_share(table) == pytest.approx(sum(leaks) / len(leaks))
    line = leak_line(table, SplitRule(rule))
    assert (line is not None) == (rule != "temporal" and any(leaks))
    if line:
        assert f"{100 * sum(leaks) / len(leaks):.3g} %" in line


def test_without_times_nothing_is_said_to_leak() -> None:
    table = split_interactions(log([9] * 5).drop(["timestamp"]), SplitRule("random"))
    assert leak_line(table, SplitRule("random")) is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rule": "temporal", "at": "2014-05-01"}, "which are not Unix times"),
        ({"rule": "temporal", "at": 5000}, "leaves none for test"),
        ({"rule": "temporal", "at": -5}, "leaves none for training"),
        ({"rule": "temporal", "at": 20}, "choose a later --at"),
        ({"rule": "cold-items", "at": 3}, "first interactions of the items"),
        ({"rule": "cold-items", "folds": 40, "fold": 39}, "cuts them into 40 folds"),
        ({"rule": "users", "folds": 40, "fold": 39}, "cuts them into 40 folds"),
    ],
)
def test_a_log_that_a_rule_does_not_fit(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        split_interactions(log([9] * 6), SplitRule(**fields))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_few_users_or_items() -> None:
    one = pa.table({"user_id": ["a", "b", "c"], "item_id": ["x", "x", "x"]})
    for rule, said in (("users", "there are 0 users with at least 2"), ("cold-items", "1 items")):
        with pytest.raises(DataError, match=said):
            split_interactions(one, SplitRule(rule))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="or give --at a share"):
        split_interactions(one, SplitRule("cold-items", at=5))
    given = one.append_column("split", pa.array(["train", "valid", "test"]))
    with pytest.raises(OptionError, match="--split is given"):
        split_interactions(given, SplitRule(folds=3))


def test_the_record_of_a_rule_of_before_is_what_it_was() -> None:
    before = {"rule": "random", "min_rating": None, "k_core": 0, "seed": 3}
    assert SplitRule("random", seed=3).described() == before
    told = SplitRule("temporal", at=date(2014, 5, 1)).described()
    assert told["at"] == "2014-05-01"
    assert SplitRule("users", folds=5).described()["fold"] == 0
    for rule in (told, before):
        assert SplitRule(**rule).described() == rule


def test_users_with_one_interaction_are_spread_over_the_folds() -> None:
    table = log([1] * 40)
    sizes = [
        len(of(split(table, "random", folds=4, fold=fold), "test", "user_id")) for fold in range(4)
    ]
    assert sum(sizes) == 40
    assert min(sizes) > 3
