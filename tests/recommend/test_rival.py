"""Lists of other programs as runs: the same numbers as mmx's own, and what is odd in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import mmx
from mmx.data.csvs.format import CsvFormat
from mmx.data.splits import SplitRule
from mmx.errors import DataError, OptionError, RunError, TargetError
from mmx.experiments.comparison import compare_runs
from mmx.recommend.fit import fit
from mmx.recommend.fuse import fuse
from mmx.recommend.job import TrainJob
from mmx.recommend.options import TrainOptions
from mmx.recommend.rival import evaluate_lists
from mmx.recommend.run import Run, read_table, verify_run
from mmx.recommend.scoring import rank
from tests.catalogue import random_log, write_interactions, write_items

USERS, ITEMS = 20, 30
NONE = dict.fromkeys(("unknown_users", "unknown_items", "repeated_items", "training_items"), 0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rival") / "data"
    rows = [{"item_id": f"i{n}", "text": f"word {n % 3}"} for n in range(ITEMS)]
    write_items(folder, rows, brand=[["a", "b", None][n % 3] for n in range(ITEMS)])
    write_interactions(folder, random_log(USERS, ITEMS, 9))
    return folder


@pytest.fixture(scope="module")
def own(data: Path) -> Run:
    """A run that keeps all its lists."""
    job = TrainJob(data, model="itemknn", training=TrainOptions(keep_lists=50))
    return fit(job, data.parent / "own", log=print)


def measured(lists: pa.Table | Path, own: Run, out: Path, **options: object) -> tuple[Run, list]:
    """A run of the lists on the split of another, and what was said."""
    said: list[str] = []
    found = evaluate_lists(lists, out=out, split_of=own, log=said.append, **options)  # type: ignore[arg-type]
    return found, said


def table(rows: list[tuple], by: str = "rank") -> pa.Table:
    return pa.table(dict(zip(("user_id", "item_id", by), zip(*rows, strict=True), strict=True)))


def free(own: Run, user: str, count: int) -> list[str]:
    """Items that a user did not take in training, in the order of their numbers."""
    mine = own.data.known.rows(own.data.users.numbers([user])).indices
    others = np.setdiff1d(np.arange(ITEMS), mine)[:count]
    return own.data.items.externals(others).to_pylist()


def listed(run: Run, user: str) -> list[str]:
    return mmx.top_k(run, user, 50, seen="none")["item_id"].to_pylist()


def test_kept_lists_measure_as_their_run(own: Run, data: Path, tmp_path: Path) -> None:
    """To the last digit, by the run's split and by the dataset's, whatever the order of rows."""
    path = own.path / "lists.parquet"
    lists = pq.read_table(path)
    assert lists.column_names == ["user_id", "rank", "item_id", "score"]
    assert lists["user_id"].unique().to_pylist() == own.data.users.ids.to_pylist()
    assert verify_run(own.path) == []
    mine = read_table(own.path / "per_user.parquet")
    mixed = lists.take(np.random.default_rng(0).permutation(len(lists)))
    for number, (source, options) in enumerate(
        [
            (path, {"split_of": own}),
            (str(path), {"data": data}),
            (mixed, {"split_of": str(own.path)}),
            (mixed.drop_columns("rank"), {"split_of": own.path}),
        ]
    ):
        run = evaluate_lists(source, out=tmp_path / str(number), log=print, **options)
        assert read_table(run.path / "per_user.parquet").equals(mine)
        assert run.metrics["test"] == own.metrics["test"]
        assert run.config["source"]["left_out"] == NONE
        assert run.config["lists"]["name"] == ("own-lists" if number < 2 else "lists")
        for what in ("split", "unknown_items", "dropped", "left_out"):
            assert run.config[what] == own.config[what]
        assert verify_run(run.path) == []


def test_a_run_of_lists_is_a_run(own: Run, tmp_path: Path) -> None:
    run, said = measured(own.path / "lists.parquet", own, tmp_path / "rival", name="sasrec")
    again, _ = measured(own.path / "lists.parquet", own, tmp_path / "again", name="other", seed=3)
    assert np.isnan(list(run.metrics["valid"].values())).all()
    assert run.metrics["counts"]["test_users"] == USERS
    assert said == [line for line in said if "have a list of fewer" in line]
    found = compare_runs([own.path, run.path, again.path])
    assert [arm["arm"] for arm in found.arms] == ["itemknn", "sasrec", "other"]
    assert found.against == "itemknn"
    assert {row["mean"] for row in found.results if row["metric"] == "recall@20"} == {
        own.metrics["test"]["recall@20"]
    }
    seeds, _ = measured(own.path / "lists.parquet", own, tmp_path / "seeds", name="other", seed=4)
    both = compare_runs([again.path, seeds.path, own.path])
    assert [len(arm["runs"]) for arm in both.arms] == [2, 1]
    assert mmx.evaluate(run, at=3).means == mmx.evaluate(own, at=3).means
    user = own.data.users.ids[0].as_py()
    assert listed(run, user) == [i for i in listed(own, user) if i in listed(run, user)]
    assert mmx.top_k(run, user, 3, seen="train")["score"].to_pylist() == pytest.approx(
        [1, 1 / 2, 1 / 3]
    )
    only = mmx.top_k(run, user, 5, only=listed(run, user)[3:5], seen="none")
    assert only["item_id"].to_pylist() == listed(run, user)[3:5]
    assert only["score"].to_pylist() == pytest.approx([1 / 4, 1 / 5])
    for call in (
        lambda: fuse([own, run], tmp_path / "fused"),
        lambda: mmx.evaluate(run, "valid"),
        lambda: mmx.top_k(run, items_from=["i1"]),
        lambda: mmx.with_new_items(run, "new.parquet"),
    ):
        with pytest.raises(RunError, match=r"lists"):
            call()


def test_only_what_can_be_ranked_takes_a_place(own: Run, tmp_path: Path) -> None:
    """Strangers, repetitions and training items go; the best place of an item counts."""
    user, other = own.data.users.ids.to_pylist()[:2]
    a, b, c = free(own, user, 3)
    taken = own.data.items.externals(own.data.known.rows(np.array([0])).indices[:1])[0].as_py()
    rows = [(user, taken, 1), (user, b, 2), (user, a, 3), (user, b, 4), (user, "no", 5),
            (user, c, 9), ("nobody", a, 1), ("nobody", "no", 2)]  # fmt: skip
    with pytest.raises(DataError, match=r"2 rows name items that the dataset lacks \(no\)"):
        measured(table(rows), own, tmp_path / "error")
    assert not (tmp_path / "error").exists()
    run, said = measured(table(rows), own, tmp_path / "drop", unknown_items="drop")
    assert listed(run, user) == [b, a, c]
    assert listed(run, other) == []
    assert run.config["source"] == {
        "file": None,
        "sha256": None,
        "rows": 8,
        "left_out": {**NONE, "unknown_users": 2, "unknown_items": 1, "repeated_items": 1,
                     "training_items": 1},
    }  # fmt: skip
    assert said == [
        "left out 2 rows of users without interactions in the dataset",
        "left out 1 row of items that the dataset lacks",
        "left out 1 row with an item that its list has before, as its best place counts",
        "left out 1 row with a training item of the user, as evaluation masks these",
        f"{USERS - 1} of {USERS} test users have no list: their metrics are 0",
        f"1 of {USERS} test users have a list of fewer than 50 items (the longest of all has 3): "
        "ranks beyond its end count as misses",
    ]
    values = read_table(run.path / "per_user.parquet")
    none = values.filter(pc.not_equal(values["user_id"], user))
    assert none.num_rows == USERS - 1
    assert not any(any(none[name].to_pylist()) for name in none.column_names if "@" in name)


def test_order_of_a_list(own: Run, tmp_path: Path) -> None:
    """Ranks from any number, with gaps; high scores first in float64, equal ones by the hash."""
    user = own.data.users.ids[0].as_py()
    a, b, c = free(own, user, 3)  # by the hash
    ranked, _ = measured(table([(user, a, 7), (user, b, -2), (user, c, 5)]), own, tmp_path / "r")
    assert listed(ranked, user) == [b, c, a]
    scores = [(user, c, 0.5), (user, a, 0.5), (user, b, 0.5 + 1e-12)]
    scored, _ = measured(table(scores, "score"), own, tmp_path / "s")
    assert listed(scored, user) == [b, a, c]
    both = table([(user, a, 2), (user, b, 1)]).append_column("score", pa.array([9.0, 1.0]))
    run, _ = measured(both, own, tmp_path / "both")
    assert listed(run, user) == [b, a]  # the rank counts


def test_a_file_of_csv(own: Run, data: Path, tmp_path: Path) -> None:
    """Its format is the lists' where the dataset has no CSV; a float may be a rank."""
    user = own.data.users.ids[0].as_py()
    a, b = free(own, user, 2)
    path = tmp_path / "mine.csv"
    path.write_text(f"item_id;user_id;rank;more\n{b};{user};1.0;x\n{a};{user};2.0;\n")
    csv = CsvFormat(delimiter=";")
    for number, options in enumerate(({"data": data}, {"split_of": own})):
        run = evaluate_lists(path, out=tmp_path / str(number), csv=csv, log=print, **options)
        assert listed(run, user) == [b, a]
        assert run.config["lists"] == {"name": "mine"}
        assert "csv" not in run.config
    with pytest.raises(OptionError, match=r"--delimiter is for CSV files"):
        evaluate_lists(own.path / "lists.parquet", data, tmp_path / "x", csv=csv)
    with pytest.raises(OptionError, match=r"--delimiter is for CSV files"):
        measured(own.path / "lists.parquet", own, tmp_path / "x", csv=csv)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop_columns("rank"), "lacks the column rank, or score; it has user_id, item"),
        (lambda t: t.rename_columns(["user", "item_id", "rank"]), "lacks the column user_id"),
        (lambda t: t.slice(0, 0), "has no rows"),
        (lambda t: t.set_column(2, "rank", pa.array([1.0, float("nan")])), "some rank is NaN"),
        (lambda t: t.set_column(2, "score", pa.array([1, -np.inf])), "some score is NaN or inf"),
        (lambda t: t.set_column(2, "rank", pa.array([1, None])), "1 rows have no rank; fill"),
        (lambda t: t.set_column(2, "rank", pa.array(["1", "2nd"])), "a number is expected"),
        (lambda t: t.set_column(2, "rank", pa.array([1, 1])), "several items of user u0 have rank"),
        (lambda t: t.set_column(1, "item_id", pa.array(["i1", None])), "1 rows have no item_id"),
        (lambda t: t.set_column(0, "user_id", pa.array(["7", "8"])), "a list of none of the 20 t"),
    ],
)
def test_mistakes_in_a_file(own: Run, tmp_path: Path, change: object, said: str) -> None:
    a, b = free(own, "u0", 2)
    path = tmp_path / "lists.parquet"
    pq.write_table(change(table([("u0", a, 1), ("u0", b, 2)])), path)  # type: ignore[operator]
    with pytest.raises(DataError, match=said.replace("(", r"\(")) as raised:
        measured(path, own, tmp_path / "out")
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_mistakes_in_what_is_named(own: Run, data: Path, tmp_path: Path) -> None:
    lists = own.path / "lists.parquet"
    for options, said in (
        ({"data": data, "split_of": own}, "give one of both"),
        ({}, "give one of both"),
        ({"split_of": own, "split": SplitRule("random")}, "drop the options of a split"),
        ({"split_of": own, "name": " "}, "--name"),
        ({"split_of": own, "name": "a/b"}, "--name 'a/b': a word"),
        ({"split_of": own, "seed": -1}, "--seed -1"),
        ({"split_of": own, "unknown_items": "keep"}, "--unknown-items"),
        ({"split_of": own, "out": own.path, "overwrite": True}, "which this job reads"),
    ):
        with pytest.raises(OptionError, match=said):
            evaluate_lists(lists, **{"out": tmp_path / "out", **options})  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"--lists .*no such file"):
        measured(tmp_path / "absent.csv", own, tmp_path / "out")
    with pytest.raises(DataError, match=r"--lists .*not a file"):
        measured(tmp_path, own, tmp_path.parent / "out")
    run, _ = measured(lists, own, tmp_path / "there")
    with pytest.raises(TargetError, match="exists"):
        measured(lists, own, tmp_path / "there")
    again, _ = measured(lists, own, tmp_path / "there", overwrite=True)
    assert again.metrics["test"] == run.metrics["test"]


def test_of_a_split_by_users(data: Path, tmp_path: Path) -> None:
    """A held-out user's items to fold in are masked, as in evaluation."""
    rule = SplitRule("users")
    job = TrainJob(data, model="ease", split=rule, training=TrainOptions(keep_lists=50))
    own = fit(job, tmp_path / "ease", log=print)
    run = evaluate_lists(own.path / "lists.parquet", data, tmp_path / "run", split=rule, log=print)
    assert run.metrics["test"] == own.metrics["test"]
    everything = table([("u0", f"i{n}", n) for n in range(ITEMS)])
    users = own.data.test.counts > 0
    tested = own.data.users.ids.take(pa.array(np.flatnonzero(users)))[0].as_py()
    everything = everything.set_column(0, "user_id", pa.array([tested] * ITEMS))
    masked, _ = measured(everything, own, tmp_path / "masked")
    number = own.data.users.numbers([tested])
    assert masked.config["source"]["left_out"]["training_items"] == own.data.known.counts[number]


def test_scores_of_lists_are_those_of_the_ranking(own: Run, tmp_path: Path) -> None:
    """One way to the scores, for all items, and one to the best."""
    run, _ = measured(own.path / "lists.parquet", own, tmp_path / "run")
    users, k = np.arange(USERS)[::-1], 4
    found = rank(run.scorer, users, k, run.data.known)
    scores = run.scorer.scores(users)
    mine = run.data.known.rows(users)
    scores[mine.users, mine.indices] = -np.inf
    assert (np.sort(scores, axis=1)[:, ::-1][:, :k] == found.scores).all()
    there = np.isfinite(found.scores)
    assert (np.take_along_axis(scores, found.items, 1)[there] == found.scores[there]).all()
    assert found.scores[:, 0].tolist() == [1.0] * USERS


def test_no_lists_unless_they_are_wanted(data: Path, tmp_path: Path) -> None:
    run = fit(TrainJob(data, model="itemknn"), tmp_path / "run", log=print)
    assert not (run.path / "lists.parquet").exists()
    assert run.config["training"] is None
    job = TrainJob(data, model="itemknn", training=TrainOptions(keep_lists=2))
    few = fit(job, tmp_path / "few", log=print)
    assert few.config["training"] == {"keep_lists": 2}
    assert pc.max(pq.read_table(few.path / "lists.parquet")["rank"]).as_py() == 2
    short, said = measured(few.path / "lists.parquet", run, tmp_path / "short")
    assert short.metrics["test"]["recall@50"] == pytest.approx(
        mmx.evaluate(run, at=2).means["recall@2"]
    )
    assert "(the longest of all has 2)" in said[-1]
    with pytest.raises(OptionError, match="--keep-lists -1"):
        TrainOptions(keep_lists=-1)
    found = compare_runs([run.path, fit(TrainJob(data, model="ease"), tmp_path / "e").path])
    assert [arm["arm"] for arm in found.arms] == ["itemknn", "ease"]
