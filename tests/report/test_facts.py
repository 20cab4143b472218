"""What a report says of a run equals loops over its log and scores."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmx.errors import RunError
from mmx.recommend.interactions import Interactions
from mmx.recommend.run import Run
from mmx.recommend.scoring import Factors
from mmx.report import facts
from mmx.report.facts import histories, people_of, picks, sampled_lists
from mmx.report.mistakes import mistakes_of

USERS, ITEMS = 14, 23
Log = list[tuple[str, str, str]]


@pytest.fixture
def log() -> Log:
    """Four training items of a user, one each of the others; two have no training, or no test."""
    rng, rows = np.random.default_rng(5), []
    for user in range(USERS):
        items = rng.choice(ITEMS - 2, 7, replace=False).tolist()
        splits = ["train"] * 4 + ["valid", "test", "test"]
        splits = ["test"] * 7 if user == 3 else ["train"] * 7 if user == 4 else splits
        rows += [(f"u{user:02}", f"i{n:02}", one) for n, one in zip(items, splits, strict=True)]
    return rows


@pytest.fixture
def run(tmp_path: Path, log: Log) -> Run:
    """The model knows nothing of the last item, nor of the last user."""
    table = pa.table(
        dict(zip(("user_id", "item_id", "split"), zip(*log, strict=True), strict=True))
    )
    times = np.random.default_rng(1).permutation(len(log))
    pq.write_table(table.append_column("timestamp", pa.array(times)),
                   tmp_path / "interactions.parquet")  # fmt: skip
    ids = pa.array([f"i{n:02}" for n in range(ITEMS)])
    rng = np.random.default_rng(2)
    users, items = (rng.normal(size=(n, 3)).astype(np.float32) for n in (USERS, ITEMS))
    users[-1], items[-1] = 0, 0
    data = Interactions.from_table(table, ids)
    return Run(tmp_path, {}, {}, data, pa.table({"item_id": ids}), Factors(users, items))


def of(log: Log, user: str, *splits: str) -> list[str]:
    return [item for who, item, split in log if who == user and split in splits]


def ranked(run: Run, user: str, hidden: list[str]) -> list[tuple[str, float]]:
    """All that the model can rank for a user, best first."""
    number = int(user[1:])
    if not run.scorer.users[number].any():
        return []
    scores = run.scorer.items @ run.scorer.users[number]
    rows = [(f"i{n:02}", float(scores[n])) for n in range(ITEMS - 1) if f"i{n:02}" not in hidden]
    return sorted(rows, key=lambda row: -row[1])


def test_lists_of_users(run: Run, log: Log) -> None:
    people = ["u05", "nobody", "u00", "u13", "u03"]
    found = picks(run, people, 6)
    assert list(found) == ["u05", "u00", "u13", "u03"]
    for user, mine in found.items():
        best = ranked(run, user, of(log, user, "train"))[:6]
        assert [pick.item for pick in mine] == [item for item, _ in best]
        assert [pick.score for pick in mine] == pytest.approx([score for _, score in best])
        for pick in mine:
            test, valid = of(log, user, "test"), of(log, user, "valid")
            assert pick.taken == ("test" if pick.item in test else
                                  "valid" if pick.item in valid else "")  # fmt: skip
    assert {pick.taken for mine in found.values() for pick in mine} == {"", "test", "valid"}


def test_histories_are_of_training_and_the_latest_first(run: Run, log: Log) -> None:
    table = pq.read_table(run.path / "interactions.parquet").to_pylist()
    found = histories(run, ["u02", "u03", "u04"], 5)
    assert list(found) == ["u02", "u03", "u04"]
    for user, (items, count) in found.items():
        mine = [row for row in table if row["user_id"] == user and row["split"] == "train"]
        mine.sort(key=lambda row: -row["timestamp"])
        assert (items, count) == ([row["item_id"] for row in mine][:5], len(mine))
    assert [count for _, count in found.values()] == [4, 0, 7]


def test_histories_have_what_was_folded_in(run: Run) -> None:
    table = pa.table({"user_id": ["a"] * 3, "item_id": ["x", "y", "z"],
                      "split": ["fold-in", "test", "train"]})  # fmt: skip
    pq.write_table(table, run.path / "interactions.parquet")
    assert histories(run, ["a"], 9) == {"a": (["x", "z"], 2)}


def test_users_are_drawn_from_those_that_are_tested(run: Run) -> None:
    lists = sampled_lists(run, 0)
    tested = [f"u{n:02}" for n in range(USERS) if n not in (3, 4)]
    assert run.data.users.externals(lists.users).to_pylist() == tested
    assert lists.ranked.shape[1] == 20
    assert people_of(run, lists, 99, 0) == tested
    drawn = people_of(run, lists, 4, 1)
    assert len(drawn) == 4
    assert drawn == sorted(drawn)
    assert {*drawn} <= {*tested}
    assert drawn == people_of(run, lists, 4, 1) != people_of(run, lists, 4, 2)
    some = sampled_lists(run, 1, most=5)
    assert len(some.users) == 5
    assert (np.diff(some.users) > 0).all()
    assert some.users.tolist() != sampled_lists(run, 2, most=5).users.tolist()
    every = dict(zip(lists.users.tolist(), lists.ranked, strict=True))
    for user, row in zip(some.users.tolist(), some.ranked, strict=True):
        np.testing.assert_array_equal(row, every[user])


def test_how_a_metric_is_distributed(tmp_path: Path) -> None:
    values = [0.0, 0.0, 0.05, 0.0999, 0.1, 0.55, 0.95, 1.0]
    pq.write_table(pa.table({facts.METRIC: values}), tmp_path / "per_user.parquet")
    assert facts._spread(tmp_path).tolist() == [2, 2, 1, 0, 0, 0, 1, 0, 0, 0, 2]
    pq.write_table(pa.table({"other": values}), tmp_path / "per_user.parquet")
    for _ in range(2):
        with pytest.raises(RunError, match=r"is broken: per_user\.parquet; train it again"):
            facts._spread(tmp_path)
        (tmp_path / "per_user.parquet").unlink(missing_ok=True)


def test_shares_of_groups(run: Run, log: Log) -> None:
    counts = Counter(item for _, item, split in log if split == "train")
    lists = sampled_lists(run, 0)
    shown = Counter(lists.ranked[lists.ranked >= 0].tolist())
    found = facts._shares(run.data, lists.ranked)
    assert list(found) == ["head", "torso", "tail", "cold"]
    cold = [n for n in range(ITEMS) if not counts[f"i{n:02}"]]
    assert found["cold"] == pytest.approx(
        (len(cold) / ITEMS, 0, sum(shown[n] for n in cold) / shown.total())
    )
    total = sum(counts.values())
    for name, (of_items, of_training, of_lists) in found.items():
        assert (of_training > 0) == (name != "cold")
        mine = [n for n in range(ITEMS) if (counts[f"i{n:02}"] == 0) == (name == "cold")]
        assert of_items <= len(mine) / ITEMS
        assert of_lists >= 0
    best = max(counts.values())
    head = [item for item, count in counts.items() if count == best]
    assert found["head"][1] >= best * len(head) / total
    for place in range(3):
        assert sum(one[place] for one in found.values()) == pytest.approx(1)


def test_mistakes_are_the_highest_scores_of_what_nobody_took(run: Run, log: Log) -> None:
    lists = sampled_lists(run, 0)
    first = []
    for number in lists.users.tolist():
        user = f"u{number:02}"
        best = ranked(run, user, of(log, user, "train", "valid", "test"))[:1]
        first += [(score, user, item) for item, score in best]
    expected: list[tuple[float, str, str]] = []
    for score, user, item in sorted(first, key=lambda row: -row[0]):
        if item not in [row[2] for row in expected]:
            expected.append((score, user, item))
    assert len(expected) > 3
    for count in (0, 2, 99):
        found = mistakes_of(lists, count)
        assert [(one.user, one.item) for one in found] == [row[1:] for row in expected[:count]]
    for one, (score, user, item) in zip(mistakes_of(lists, 99), expected, strict=True):
        order = [name for name, _ in ranked(run, user, of(log, user, "train"))]
        later = of(log, user, "test")
        assert one.score == pytest.approx(score)
        assert one.place == 1 + order.index(item)
        assert (one.trained, one.held_out) == (len(of(log, user, "train")), len(later))
        assert one.best == 1 + min(order.index(name) for name in later)


def test_nobody_is_wrong_where_nothing_is_ranked(run: Run) -> None:
    lists = sampled_lists(run, 0)
    none = run.scorer.users * 0
    silent = Run(run.path, {}, {}, run.data, run.items, Factors(none, run.scorer.items))
    assert mistakes_of(replace(lists, run=silent), 5) == []
