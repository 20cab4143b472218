"""Lists under conditions, caps, MMR, fallback and reasons equal those of loops; blocks of users."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmx.data.vocabulary import Vocabulary
from mmx.errors import DataError, MmxError, OptionError, RunError, UnknownIdError
from mmx.recommend import diversity as diversity_module
from mmx.recommend import list_builder, recommendation
from mmx.recommend.diversity import mmr, pool_size
from mmx.recommend.features import Features
from mmx.recommend.interactions import Interactions, UserItems
from mmx.recommend.recommend_options import RecommendOptions
from mmx.recommend.recommendation import (
    recommend,
    recommend_all,
    recommend_from,
    recommend_histories,
)
from mmx.recommend.run import Run
from mmx.recommend.scoring import Factors

USERS, ITEMS = 5, 14
KINDS = ["a", "b", None, "a", "c", "a", "", "b", "a", "a", "c", "b", "a", "a"]
CONDITIONS = {
    None: lambda n: True,
    "price < 9 and category = 'a'": lambda n: n < 9 and KINDS[n] == "a",
    "price >= 12": lambda n: n >= 12,
    "category is null or price % 2 = 0": lambda n: KINDS[n] is None or n % 2 == 0,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the items: price is the number of the item."""
    folder = tmp_path_factory.mktemp("run")
    ids = [f"{n:03}" for n in range(ITEMS)]
    table = pa.table({"item_id": ids, "price": range(ITEMS), "category": KINDS})
    pq.write_table(table, folder / "items.parquet")
    return folder


@pytest.fixture(scope="module")
def run(place: Path) -> Run:
    """Drawn: many scores are equal, of items 12 and 13 and of user 4 the model knows nothing."""
    rng = np.random.default_rng(3)
    users, items = rng.integers(-1, 3, (USERS, 2)), rng.integers(-1, 3, (ITEMS, 2))
    users[4], items[12:] = 0, 0
    pairs = [(0, 1), (0, 2), (1, 3), (2, 3), (2, 5), (3, 0), (3, 1), (3, 12)]
    shape = (USERS, ITEMS)
    parts = [UserItems.from_pairs(*np.array(some).reshape(-1, 2).T, *shape)
             for some in (pairs[:5], pairs[5:6], pairs[6:])]  # fmt: skip
    table = pq.read_table(place / "items.parquet")
    data = Interactions(
        Vocabulary([f"u{n}" for n in range(USERS)], "user"), Vocabulary(table["item_id"], "item"),
        *parts,
    )  # fmt: skip
    vectors = {
        name: Features(rng.integers(-1, 2, (ITEMS, 3)).astype(np.float32), np.ones(ITEMS, bool))
        for name in ("image", "text")
    }
    scorer = Factors(users.astype(np.float32), items.astype(np.float32))
    config = {"model": "bpr", "can": {"new_users": True}, "features": []}
    return Run(place, config, {}, data, table, scorer, vectors)


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one.astype(float), other.astype(float)
    norms = np.linalg.norm(one) * np.linalg.norm(other)
    return round(float(one @ other) / norms * 2**26) / 2**26 if norms else math.nan


def history_of(run: Run, user: int, seen: str) -> list[int]:
    known = run.data.known if seen == "train" else run.data.seen
    return known.indices[known.indptr[user] : known.indptr[user + 1]].tolist()


def slow(run: Run, user: int, options: RecommendOptions) -> list[dict]:
    """One user's list by loops."""
    history = history_of(run, user, options.seen)
    may = [n for n in range(ITEMS) if CONDITIONS[options.where](n)
           and (options.seen == "none" or n not in history)]  # fmt: skip
    most = ITEMS if options.per is None else options.per[1]
    scores = run.scorer.items @ run.scorer.users[user] if user >= 0 else np.zeros(ITEMS)
    known = [n for n in may if user >= 0 and run.scorer.users[user].any()
             and run.scorer.items[n].any()]  # fmt: skip
    ranked = sorted(known, key=lambda n: (-scores[n], n))

    def room(n: int, chosen: list[int]) -> bool:
        return not KINDS[n] or sum(KINDS[m] == KINDS[n] for m in chosen) < most

    if options.diversity:
        pool = next((ranked[:end] for end in range(pool_size(options.k), len(ranked))
                     if len(greedy(ranked[:end], room, options.k)) == options.k),
                    ranked)  # fmt: skip
        both = [np.concatenate([unit(f.matrix[n]) for f in run.vectors.values()]) for n in pool]
        groups = np.array([{"a": 0, "b": 1, "c": 2}.get(KINDS[n] or "", -1) for n in pool], int)
        places = mmr(scores[pool], np.array(both).reshape(-1, 6), options.k, options.diversity,
                     groups, most)  # fmt: skip
        chosen = [pool[place] for place in places]
    else:
        chosen = greedy(ranked, room, options.k)
    mine = len(chosen)
    if options.fallback == "popular":
        counts = run.data.train.item_counts
        rest = [n for n in sorted(may, key=lambda n: (-counts[n], n)) if n not in chosen]
        chosen = greedy(rest, room, options.k, chosen)
    rows = []
    for rank, n in enumerate(chosen):
        pairs = [(m, name) for name in run.vectors for m in history if m != n]
        alike = [(cosine(run.vectors[name].matrix[n], run.vectors[name].matrix[m]), m, name)
                 for m, name in pairs]  # fmt: skip
        best = max((one for one in alike if not math.isnan(one[0])), key=lambda one: one[0],
                   default=(None, None, None))  # fmt: skip
        rows.append({
            "user_id": f"u{user}", "rank": rank + 1, "item_id": f"{n:03}",
            "score": float(scores[n]) if rank < mine else None, "fallback": rank >= mine,
            "because_item": None if best[1] is None else f"{best[1]:03}",
            "because_modality": best[2],
            "similarity": None if best[0] is None else pytest.approx(best[0], abs=1e-7),
        })  # fmt: skip
    wanted = {"fallback": options.fallback == "popular", "because_item": options.explain,
              "because_modality": options.explain, "similarity": options.explain}  # fmt: skip
    return [{name: v for name, v in row.items() if wanted.get(name, True)} for row in rows]


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / (np.linalg.norm(vector.astype(float)) or 1)


def greedy(order, room, k, chosen=()) -> list[int]:
    chosen = list(chosen)
    for n in order:
        if len(chosen) < k and room(n, chosen):
            chosen.append(n)
    return chosen


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(list(CONDITIONS)), st.integers(1, 16), st.sampled_from([0, 0, 0.3, 1]),
    st.sampled_from([None, 1, 2]), st.sampled_from(["none", "popular"]), st.booleans(),
    st.sampled_from(["all", "train", "none"]), st.integers(1, 3),
)  # fmt: skip
def test_lists_are_those_of_loops(
    run: Run, where, k, diversity, most, fallback, explain, seen, at_once
) -> None:
    per = None if most is None else ("category", most)
    options = RecommendOptions(k, seen=seen, where=where, catalogue=run.path, fallback=fallback,
                               diversity=diversity, per=per, explain=explain)  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recommendation, "ROWS_AT_ONCE", at_once * k)
        patch.setattr(list_builder, "CELLS", 30)
        patch.setattr(diversity_module, "LEAST", 2)
        patch.setattr(diversity_module, "POOL", 0)
        expected = [row for user in range(USERS) for row in slow(run, user, options)]
        done = []
        tables = list(recommend_all(run, options, progress=lambda *now: done.append(now)))
        assert pa.concat_tables(tables).to_pylist() == expected
    assert done[-1] == (USERS, USERS)


def test_those_whom_nobody_knows_get_what_is_popular(run: Run) -> None:
    lines: list[str] = []
    popular = RecommendOptions(3, where="price > 0", catalogue=run.path, fallback="popular",
                               explain=True)  # fmt: skip
    table = recommend(run, ["new", "u0", "new"], popular, log=lines.append)
    rows = table.to_pylist()
    assert [row["item_id"] for row in rows[:3]] == ["003", "001", "002"]
    assert rows[:3] == rows[6:]
    assert all(row["fallback"] and row["score"] is None for row in rows[:3])
    assert all(row["because_item"] is None and row["similarity"] is None for row in rows[:3])
    assert not any(row["fallback"] for row in rows[3:6])
    assert lines == [f"2 of 3 users are not in {run.path}: all they get is the fallback"]
    assert recommend(run, ["u4"], popular)["fallback"].to_pylist() == [True] * 3
    assert recommend(run, ["u4"], RecommendOptions(3)).num_rows == 0  # known, without training
    visitor = recommend_from(run, [], popular)
    assert visitor["item_id"].to_pylist() == ["003", "001", "002"]
    assert visitor["user_id"].null_count == 3
    with pytest.raises(UnknownIdError, match="unknown user"):
        recommend(run, ["new"], RecommendOptions(3))
    with pytest.raises(OptionError, match="--fallback popular"):
        recommend_from(run, [], RecommendOptions(3))


def test_histories_are_lists_of_new_users(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recommendation, "NEW_AT_ONCE", 2)
    pairs = [("z", "001"), ("y", "003"), ("z", "005"), ("u0", "000"), ("z", "001"), ("y", "gone"),
             ("x", "gone"), ("w", "007")]  # fmt: skip
    table = pa.table({"user_id": [u for u, _ in pairs], "item_id": [i for _, i in pairs]})
    lines: list[str] = []
    options = RecommendOptions(4, explain=True, fallback="popular")
    done: list[tuple[int, int]] = []
    found = pa.concat_tables(list(recommend_histories(
        run, table, options, log=lines.append, progress=lambda *now: done.append(now)
    )))  # fmt: skip
    assert lines == [f"left out 2 of 8 rows of the histories: {run.path} does not have 1 of their "
                     "items (gone)"]  # fmt: skip
    assert done == [(2, 5), (4, 5), (5, 5)]
    assert list(dict.fromkeys(found["user_id"].to_pylist())) == ["z", "y", "u0", "x", "w"]
    for user, items in {
        "z": ["005", "001"],
        "y": ["003"],
        "u0": ["000"],
        "x": [],
        "w": ["007"],
    }.items():
        mine = found.filter(pa.compute.equal(found["user_id"], user)).drop_columns("user_id")
        one = recommend_from(run, items, options).drop_columns("user_id")
        assert mine.drop_columns("score").equals(one.drop_columns("score")), user
        scores = [t["score"].to_numpy() for t in (mine, one)]  # NaN where there is none
        np.testing.assert_allclose(*scores, rtol=1e-5)
    with pytest.raises(DataError, match=r"no item of 1 of 5 users \(x\); remove them, or --fallb"):
        list(recommend_histories(run, table, RecommendOptions(4), log=lines.append))


def test_what_is_not_on_sale_is_not_shown(run: Run, tmp_path: Path) -> None:
    """A catalogue as CSV, with ids like numbers, columns of its own and an item the run lacks."""
    (tmp_path / "now.csv").write_text("item_id,stock\n005,1\n007,0\n011,3\nnew,4\n")
    lines: list[str] = []
    now = RecommendOptions(9, seen="none", catalogue=tmp_path / "now.csv", fallback="popular")
    assert {*recommend(run, ["u0"], now, log=lines.append)["item_id"].to_pylist()} == {
        "005", "007", "011"}  # fmt: skip
    assert lines == [f"1 of 4 items of {tmp_path / 'now.csv'} are not in {run.path} and cannot be "
                     "recommended (--new-items scores them)"]  # fmt: skip
    stocked = replace(now, where="stock > 0", per=("stock", 1))
    assert {*recommend(run, ["u0"], stocked)["item_id"].to_pylist()} == {"005", "011"}
    (tmp_path / "now.csv").write_text("item_id,stock\n5,1\n")
    with pytest.raises(RunError, match="has none of the items"):
        recommend(run, ["u0"], now)


def test_a_run_without_stores(run: Run, tmp_path: Path) -> None:
    """Its own vectors make lists diverse; they give no reasons."""
    bare = replace(run, vectors=None)
    plain = recommend(bare, ["u0"], RecommendOptions(9))
    other = recommend(bare, ["u0"], RecommendOptions(9, diversity=0.9, where="price >= 0"))
    assert {*plain["item_id"].to_pylist()} == {*other["item_id"].to_pylist()}
    assert plain["item_id"][0] == other["item_id"][0]
    assert not plain.equals(other)
    with pytest.raises(OptionError, match=r"--explain needs vectors .* --store STORE"):
        recommend(bare, ["u0"], RecommendOptions(9, explain=True))
    gone = {"features": [{"modality": "image", "store": str(tmp_path / "gone.parquet")}]}
    with pytest.raises(MmxError, match="say where they are now with --store STORE"):
        recommend(replace(bare, config=bare.config | gone), ["u0"], RecommendOptions(explain=True))
    with pytest.raises(OptionError, match="--where with --new-items needs --catalogue"):
        recommend(run, ["u0"], RecommendOptions(where="price > 3"))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"diversity": 1.5}, "--diversity"), ({"diversity": math.nan}, "--diversity"),
        ({"diversity": "much"}, "--diversity"), ({"per": ("category", 0)}, "--per"),
        ({"per": "category=3"}, "--per"), ({"per": ("category", 2.5)}, "--per"),
        ({"per": (3, 3)}, "--per"), ({"fallback": "random"}, "--fallback"),
        ({"where": 3}, "where"), ({"explain": "yes"}, "explain"), ({"csv": ";"}, "csv"),
        ({"stores": "s.parquet"}, "--store goes with"),
    ],
)  # fmt: skip
def test_options_that_are_none(wrong: dict, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        RecommendOptions(**wrong)


def test_conditions_and_columns_that_are_none(run: Run) -> None:
    for wrong, said in (
        ({"where": " "}, "--where is empty"),
        ({"where": "price > 99"}, "--where: no item of .* meets 'price > 99'"),
        ({"where": "prise < 3"}, "--where: .*prise"),
        ({"where": "1=1); drop table items; --"}, "--where"), ({"per": ("kind", 1)}, "--per kind"),
    ):  # fmt: skip
        with pytest.raises(MmxError, match=said):
            recommend(run, ["u0"], RecommendOptions(catalogue=run.path, **wrong))
