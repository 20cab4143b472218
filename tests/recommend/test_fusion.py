"""Fusion: comparable scores, weights from validation alone, a run of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mmx.data.splits import SplitRule
from mmx.errors import OptionError, RunError, TargetError
from mmx.recommend import fuse as fusion
from mmx.recommend.ensemble import Ensemble, z_scores
from mmx.recommend.evaluation import evaluate_scorer
from mmx.recommend.fit import fit
from mmx.recommend.fuse import fuse, learned_weights
from mmx.recommend.inductive import newcomers
from mmx.recommend.interactions import Interactions, UserItems
from mmx.recommend.job import TrainJob
from mmx.recommend.recommend_options import RecommendOptions
from mmx.recommend.recommendation import recommend, recommend_from
from mmx.recommend.run import Run, open_run
from mmx.recommend.scoring import Factors
from mmx.recommend.serialize import pack, unpack
from tests.catalogue import random_log, write_interactions, write_items
from tests.recommend.toy import N_ITEMS, N_USERS, TAKEN, toy_train


def drawn(seed: int, scale: float = 1.0) -> Factors:
    rng = np.random.default_rng(seed)
    users, items = rng.normal(size=(N_USERS, 4)), scale * rng.normal(size=(N_ITEMS, 4))
    return Factors(users.astype(np.float32), items.astype(np.float32))


def slow_z(scores: np.ndarray) -> np.ndarray:
    """float64 z-scores of the toy users, one by one."""
    out = np.zeros(scores.shape)
    for user, taken in TAKEN.items():
        others = [float(scores[user, i]) for i in range(N_ITEMS) if i not in taken]
        mean = sum(others) / len(others)
        deviation = (sum((s - mean) ** 2 for s in others) / len(others)) ** 0.5
        for i in range(N_ITEMS):
            out[user, i] = (float(scores[user, i]) - mean) / deviation if deviation else 0.0
    return out


def test_z_scores_are_over_what_was_not_taken() -> None:
    scores = drawn(0).scores(np.arange(N_USERS))
    found = z_scores(scores.copy(), toy_train())
    np.testing.assert_allclose(found, slow_z(scores), rtol=1e-4, atol=1e-5)


def test_a_part_that_scores_all_alike_counts_nothing() -> None:
    alike = np.full((N_USERS, N_ITEMS), 0.1, dtype=np.float32)
    np.testing.assert_allclose(z_scores(alike, toy_train()), 0, atol=1e-6)


def test_scores_are_the_weighted_sum() -> None:
    parts, weights = (drawn(1), drawn(2, 1000.0)), (0.25, 0.75)
    everyone = np.arange(N_USERS)
    found = Ensemble(parts, weights, toy_train()).scores(everyone)
    wanted = [w * slow_z(p.scores(everyone)) for p, w in zip(parts, weights, strict=True)]
    np.testing.assert_allclose(found, sum(wanted), rtol=1e-4, atol=1e-5)


def test_the_scale_of_a_part_does_not_matter() -> None:
    small, large = drawn(1), drawn(1, 1000.0)
    a, b = (Ensemble((part, drawn(2)), (0.5, 0.5), toy_train()) for part in (small, large))
    np.testing.assert_allclose(
        a.scores(np.arange(N_USERS)), b.scores(np.arange(N_USERS)), rtol=1e-3, atol=1e-4
    )


def test_newcomers_are_scaled_over_their_own_items() -> None:
    fused = Ensemble((drawn(1), drawn(2)), (0.4, 0.6), toy_train())
    histories = UserItems.from_pairs(np.array([0, 1, 1]), np.array([2, 0, 8]), 2, N_ITEMS)
    new = newcomers(fused, toy_train(), histories)
    assert isinstance(new, Ensemble)
    parts = [newcomers(part, toy_train(), histories).scores(np.arange(2)) for part in fused.parts]
    wanted = 0.4 * z_scores(parts[0], histories) + 0.6 * z_scores(parts[1], histories)
    np.testing.assert_allclose(new.scores(np.arange(2)), wanted, rtol=1e-5, atol=1e-6)


def world() -> tuple[Interactions, Factors, Factors, Factors]:
    """Validation items that two parts know half of each, and a part that knows nothing."""
    rng = np.random.default_rng(0)
    n_users, n_items = 120, 150
    left, right = rng.normal(size=(2, n_users, 6)), rng.normal(size=(2, n_items, 6))
    truth = sum(u @ i.T for u, i in zip(left, right, strict=True))
    order = np.argsort(-truth, axis=1)
    splits = {"train": range(0, 20, 2), "valid": range(1, 20, 4), "test": range(3, 20, 4)}
    rows = [
        (f"u{u}", f"i{i}", split)
        for u in range(n_users)
        for split, places in splits.items()
        for i in order[u, list(places)]
    ]
    users, items, split = zip(*rows, strict=True)
    table = pa.table({"user_id": users, "item_id": items, "split": split})
    ids = [pa.array([f"{kind}{n}" for n in range(count)])
           for kind, count in (("i", n_items), ("u", n_users))]  # fmt: skip
    data = Interactions.from_table(table, *ids)
    parts = [
        Factors(u.astype(np.float32), i.astype(np.float32))
        for u, i in zip(left, right, strict=True)
    ]
    noise = Factors(
        rng.normal(size=(n_users, 6)).astype(np.float32),
        rng.normal(size=(n_items, 6)).astype(np.float32),
    )
    return data, parts[0], parts[1], noise


def recall(scorer: Ensemble | Factors, data: Interactions) -> float:
    return evaluate_scorer(scorer, data.valid, data.train, cutoffs=(20,)).means["recall@20"]


def test_learned_weights_are_better_than_any_part_and_leave_noise_out() -> None:
    data, a, b, noise = world()
    weights = learned_weights([a, b, noise], data)
    assert sum(weights) == pytest.approx(1)
    assert weights[2] < 0.1
    assert min(weights[:2]) > 0.25
    fused = Ensemble((a, b, noise), tuple(weights), data.train)
    assert recall(fused, data) > max(recall(a, data), recall(b, data)) + 0.05


def test_learned_weights_see_nothing_of_the_test_split() -> None:
    data, a, b, noise = world()
    nothing = UserItems(np.zeros(121, np.int64), np.zeros(0, np.int64), 150)
    blind = Interactions(data.users, data.items, data.train, data.valid, nothing)
    assert learned_weights([a, b, noise], blind) == learned_weights([a, b, noise], data)


@pytest.mark.parametrize("known", [150, 12])
def test_the_reported_recall_is_that_of_the_whole_catalogue(
    known: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The candidates hold all that the search may find: its recall is the evaluation's."""
    data, a, b, _ = world()
    for part in (a, b):
        part.items[known:] = 0
    reached: list[float] = []
    slow = fusion._recall
    monkeypatch.setattr(fusion, "_recall", lambda s, r: reached.append(slow(s, r)) or reached[-1])
    weights = learned_weights([a, b], data)
    assert max(reached) == pytest.approx(recall(Ensemble((a, b), tuple(weights), data.train), data))


def test_a_candidate_of_two_parts_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few candidates and many places: a doubled item must not be a doubled hit."""
    data, a, _, _ = world()
    monkeypatch.setattr(fusion, "DEPTH", 8)
    found: list[float] = []
    slow = fusion._recall
    monkeypatch.setattr(fusion, "_recall", lambda s, r: found.append(slow(s, r)) or found[-1])
    learned_weights([a, a], data)
    at_8 = evaluate_scorer(a, data.valid, data.train, cutoffs=(8,)).means["recall@8"]
    assert max(found) == pytest.approx(at_8)


def test_without_validation_all_weigh_alike() -> None:
    data, a, b, noise = world()
    nothing = UserItems(np.zeros(121, np.int64), np.zeros(0, np.int64), 150)
    blind = Interactions(data.users, data.items, data.train, nothing, data.test)
    assert learned_weights([a, b, noise, noise], blind) == [0.25] * 4


def test_of_equal_rounds_the_earliest_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two users, two items; both are found by the parts' sum, and by one of twice the second."""
    monkeypatch.setattr(fusion, "CUTOFF", 1)
    monkeypatch.setattr(fusion, "VOTES", 3)
    scores = np.array([[[1, 0], [0.6, 0]], [[0, 0.4], [0, 1]]], np.float32)
    assert fusion._elected(scores, np.eye(2, dtype=np.float32)).tolist() == [1, 1]


def test_the_seed_draws_whom_the_weights_are_learned_on(monkeypatch: pytest.MonkeyPatch) -> None:
    data, a, b, _ = world()
    users: list[list[int]] = []
    slow = fusion._candidates
    monkeypatch.setattr(fusion, "USERS", 9)
    monkeypatch.setattr(
        fusion, "_candidates", lambda p, u, d: (users.append(u.tolist()), slow(p, u, d))[1]
    )
    for seed in (0, 0, 1):
        learned_weights([a, b], data, seed)
    assert users[0] == users[1] != users[2]
    assert [len(set(drawn)) for drawn in users] == [9, 9, 9]


def test_what_no_part_knows_is_not_recommended() -> None:
    """Item 4 is known to one of two parts, item 5 to none, user 2 to one, and user 3 to none."""
    left, right = drawn(1), drawn(2)
    for part, items, users in ((left, [4, 5], [2, 3]), (right, [5], [3])):
        part.items[items], part.users[users] = 0, 0
    scores = Ensemble((left, right), (0.5, 0.5), toy_train()).scores(np.arange(N_USERS))
    unknown = np.zeros(scores.shape, dtype=bool)
    unknown[:, 5], unknown[3] = True, True
    np.testing.assert_array_equal(np.isneginf(scores), unknown)


def test_more_than_ten_parts_are_kept_apart() -> None:
    """The names of the second one's arrays begin as those of the eleventh and the twelfth."""
    fused = Ensemble(tuple(drawn(n) for n in range(12)), (1 / 12,) * 12, toy_train())
    again = unpack(*pack(fused), toy_train())
    everyone = np.arange(N_USERS)
    np.testing.assert_array_equal(again.scores(everyone), fused.scores(everyone))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset and three runs on it, one of another split."""
    root = tmp_path_factory.mktemp("fusion")
    write_items(root / "data", [{"item_id": f"i{n}", "text": f"item {n}"} for n in range(60)])
    write_interactions(root / "data", random_log(50, 60, 12))
    fit(TrainJob(root / "data", "ease", settings=["reg=20"]), root / "ease")
    fit(TrainJob(root / "data", "popularity"), root / "popularity")
    fit(TrainJob(root / "data", "itemknn", settings=["shrinkage=1"]), root / "itemknn")
    fit(TrainJob(root / "data", "ease", split=SplitRule(seed=1)), root / "other")
    return root


@pytest.fixture(scope="module")
def fused(place: Path) -> Run:
    return fuse([place / name for name in ("ease", "popularity", "itemknn")], place / "fused")


def test_the_fused_run_stands_alone(fused: Run, place: Path, tmp_path: Path) -> None:
    shutil.copytree(fused.path, tmp_path / "alone")
    again = open_run(tmp_path / "alone")
    everyone = np.arange(len(fused.data.users))
    np.testing.assert_array_equal(again.scorer.scores(everyone), fused.scorer.scores(everyone))
    weights = [part["weight"] for part in fused.config["parts"]]
    parts = [open_run(place / name) for name in ("ease", "popularity", "itemknn")]
    train = fused.data.train
    wanted = sum(
        w * z_scores(p.scorer.scores(everyone), train) for w, p in zip(weights, parts, strict=True)
    )
    np.testing.assert_allclose(fused.scorer.scores(everyone), wanted, rtol=1e-4, atol=1e-5)


def test_the_fused_run_is_a_run_like_any_other(fused: Run) -> None:
    kept = json.loads((fused.path / "metrics.json").read_text())
    measured = evaluate_scorer(fused.scorer, fused.data.test, fused.data.train).means
    assert kept["test"] == pytest.approx(measured)
    user = fused.data.users.ids[3].as_py()
    lists = recommend(fused, [user], RecommendOptions(k=5))
    assert lists["rank"].to_pylist() == [1, 2, 3, 4, 5]
    assert fused.can("new_users")
    assert not fused.can("cold_items")
    assert recommend_from(fused, ["i1", "i2"], RecommendOptions(k=3)).num_rows == 3
    for item, text in zip(*(fused.items[n].to_pylist() for n in ("item_id", "text")), strict=True):
        assert text == f"item {item[1:]}"


def test_a_fusion_can_be_fused(fused: Run, place: Path, tmp_path: Path) -> None:
    twice = fuse([fused.path, place / "itemknn"], tmp_path / "twice")
    assert sum(part["weight"] for part in twice.config["parts"]) == pytest.approx(1)
    everyone = np.arange(len(twice.data.users))
    assert np.isfinite(twice.scorer.scores(everyone)).all()


def test_runs_of_another_split_are_refused(place: Path) -> None:
    with pytest.raises(RunError, match=r"different train interactions; fuse runs of one dataset"):
        fuse([place / "ease", place / "other"], place / "never")
    assert not (place / "never").exists()


def test_runs_may_be_open(place: Path, fused: Run, tmp_path: Path) -> None:
    runs = [open_run(place / "ease"), place / "popularity", str(place / "itemknn")]
    again = fuse(runs, tmp_path / "again")
    assert again.config["parts"] == fused.config["parts"]


def test_mistakes(place: Path, fused: Run) -> None:
    with pytest.raises(OptionError, match="two or more"):
        fuse([place / "ease"], place / "never")
    with pytest.raises(OptionError, match="different runs"):
        fuse([place / "ease", place / "ease"], place / "never")
    with pytest.raises(TargetError, match="--overwrite"):
        fuse([place / "ease", place / "itemknn"], fused.path)
    with pytest.raises(RunError, match="no run at"):
        fuse([place / "ease", place / "nowhere"], place / "never")
