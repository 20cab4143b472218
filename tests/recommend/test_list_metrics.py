"""A run's lists beyond accuracy and by group: what is measured is what evaluation ranks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mmx.errors import DataError, OptionError, StoreError
from mmx.recommend import beyond
from mmx.recommend.api import evaluate
from mmx.recommend.evaluation import evaluate_scorer
from mmx.recommend.groups import harmonic_mean, items_by_popularity, users_by_activity
from mmx.recommend.interactions import Interactions
from mmx.recommend.list_metrics import beyond_accuracy, by_group
from mmx.recommend.run import Run
from mmx.recommend.scoring import Factors, rank
from tests.cache.stores import make_store

N_USERS, N_ITEMS, K = 14, 21, 5
BRANDS = [["a", "b", None, ""][n % 4] for n in range(N_ITEMS)]


@pytest.fixture(scope="module")
def run() -> Run:
    """Factors drawn at random; items i18, i19 and i20 are in no user's training."""
    rng = np.random.default_rng(1)
    rows = []
    for user in range(N_USERS):
        taken = rng.permutation(N_ITEMS)[: 4 + user % 7].tolist()
        for place, item in enumerate(taken):
            split = "test" if place < 2 or item >= 18 else ("valid" if place == 2 else "train")
            rows.append((f"u{user}", f"i{item}", split))
    names = ("user_id", "item_id", "split")
    split = pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
    ids = [f"i{n}" for n in range(N_ITEMS)]
    data = Interactions.from_table(split, pa.array(ids))
    items = pa.table({"item_id": ids, "brand": BRANDS, "price": np.arange(N_ITEMS) // 3,
                      "kinds": [["x"]] * N_ITEMS})  # fmt: skip
    scorer = Factors(*(rng.normal(size=(n, 3)).astype(np.float32) for n in (N_USERS, N_ITEMS)))
    return Run(Path("runs/drawn"), {"model": "bpr"}, {}, data, items, scorer)


def test_beyond_accuracy_is_of_the_evaluated_lists(run: Run, tmp_path: Path) -> None:
    store = make_store(tmp_path / "fake.parquet", N_ITEMS)
    found = beyond_accuracy(run, at=[K, 2], stores=f"{store.path}:text", category="brand")
    users, train, n = evaluate(run, at=K).users, run.data.train, N_ITEMS
    vectors, present = store.vectors("text", run.data.items.ids)
    brands = np.array([["a", "b", None].index(b or None) for b in BRANDS])
    brands[brands == 2] = -1
    for k in (2, K):
        ranked = rank(run.scorer, users, k, train).items
        mean, profiles = beyond.mean_of, train.rows(users)
        assert {name: value for name, value in found.items() if name.endswith(f"@{k}")} == {
            f"coverage@{k}": beyond.coverage(ranked, n),
            f"gini@{k}": beyond.gini(ranked, n),
            f"novelty@{k}": mean(beyond.novelty(ranked, train.item_counts)),
            f"popularity@{k}": mean(beyond.popularity(ranked, train.item_counts)),
            f"popularity-lift@{k}": beyond.popularity_lift(ranked, train.item_counts, profiles),
            f"diversity:text@{k}": mean(beyond.diversity_of_vectors(ranked, vectors, present)),
            f"diversity:brand@{k}": mean(beyond.diversity_of_categories(ranked, brands)),
        }
    assert len(found) == 14
    assert "diversity:price@5" in beyond_accuracy(run, "valid", 5, category="price")


def test_mistakes(run: Run, tmp_path: Path) -> None:
    store = make_store(tmp_path / "image.parquet", N_ITEMS)
    other = make_store(tmp_path / "other.parquet", ["x", "y"])
    renamed = run.items.append_column("text", run.items["brand"])
    with pytest.raises(OptionError, match=r"--category brant: .* did you mean 'brand'"):
        beyond_accuracy(run, category="brant")
    with pytest.raises(OptionError, match="--category item_id"):
        beyond_accuracy(run, category="item_id")
    with pytest.raises(DataError, match=r"--category kinds is list.*; one value for each item"):
        beyond_accuracy(run, category="kinds")
    with pytest.raises(OptionError, match="--category text: --store has vectors of that name"):
        beyond_accuracy(
            Run(run.path, run.config, {}, run.data, renamed, run.scorer),
            stores=store.path, category="text",
        )  # fmt: skip
    with pytest.raises(StoreError, match="made from other items"):
        beyond_accuracy(run, stores=[other.path])
    for call in (beyond_accuracy, by_group):
        with pytest.raises(OptionError, match="--split train is unknown"):
            call(run, "train")
        with pytest.raises(OptionError, match="--at 0"):
            call(run, at=0)


def test_items_of_the_tail_are_those_with_at_most_so_many(run: Run) -> None:
    counts, said = run.data.train.item_counts, list[str]()
    for tail in (0, 1, 2):
        alone = evaluate_scorer(
            run.scorer, run.data.test, run.data.train, cutoffs=(2, K), targets=counts <= tail
        )
        found = evaluate(run, at=[K, 2, K], tail=tail, log=said.append)
        assert (list(found.means), found.means) == (list(alone.means), alone.means)
    assert said == []
    cold = evaluate(run, at=K, cold=True, log=said.append)
    assert cold.means == evaluate(run, at=K, tail=0).means
    assert said == ["bpr cannot score items that nobody took: their order is random"]


@pytest.mark.parametrize("split", ["valid", "test"])
def test_groups_equal_separate_evaluations(run: Run, split: str) -> None:
    rows = {row["group"]: row for row in by_group(run, split, K)}
    held_out = run.data.valid if split == "valid" else run.data.test
    counts, everyone = run.data.train.item_counts, evaluate(run, split, K)
    targets = items_by_popularity(counts) | {"warm": counts > 0, "cold": counts == 0}
    for group, mask in targets.items():
        alone = evaluate_scorer(run.scorer, held_out, run.data.train, cutoffs=(K,), targets=mask)
        assert (rows[group]["users"], rows[group]["items"]) == (len(alone.users), alone.items)
        measured = {name: rows[group][name] for name in alone.means}
        assert measured == pytest.approx(alone.means, nan_ok=True)
        assert (rows[group]["least"], rows[group]["most"]) == (
            (counts[mask].min(), counts[mask].max()) if mask.any() else (None, None)
        )
    active = run.data.train.counts[everyone.users]
    for group, mask in users_by_activity(active).items():
        assert rows[group]["users"] == mask.sum()
        if not mask.any():
            assert np.isnan(rows[group]["recall@5"])
            continue
        assert rows[group]["recall@5"] == pytest.approx(everyone.metrics["recall@5"][mask].mean())
        assert rows[group]["most"] == active[mask].max()
    both = rows["harmonic mean"]
    assert both["users"] is None
    expected = harmonic_mean(rows["warm"]["recall@5"], rows["cold"]["recall@5"])
    assert both["recall@5"] == pytest.approx(expected, nan_ok=True)
    if split == "test":
        assert np.isfinite(both["recall@5"])
    assert [row["by"] for row in by_group(run, split, K)] == [
        *["activity"] * 3, *["popularity"] * 3, *["training"] * 3,
    ]  # fmt: skip


def test_nobody_to_measure(run: Run) -> None:
    """A run whose validation is empty has rows, without values."""
    split = pa.table({"user_id": ["a", "a"], "item_id": ["i0", "i1"], "split": ["train", "test"]})
    data = Interactions.from_table(split, run.items["item_id"])
    scorer = Factors(np.ones((1, 1), np.float32), np.ones((N_ITEMS, 1), np.float32))
    empty = Run(run.path, run.config, {}, data, run.items, scorer)
    rows = by_group(empty, "valid", 5)
    assert {row["users"] for row in rows} == {0, None}
    assert all(np.isnan(row["recall@5"]) for row in rows)
    assert np.isnan(beyond_accuracy(empty, "valid", 5)["gini@5"])


def test_held_out_users_are_measured_by_what_is_folded_in(run: Run) -> None:
    """None of it is in training: it is masked, it says how active they are, and is their profile.

    Item 0 was taken twice in training and item 1 once; lower numbers come first.
    """
    rows = [("a", 0, "train"), ("a", 1, "train"), ("b", 0, "train"), ("c", 0, "fold-in"),
            ("c", 5, "test"), ("d", 1, "fold-in"), ("d", 2, "fold-in"), ("d", 6, "test"),
            *(("e", n, "fold-in") for n in range(3)), ("e", 7, "test")]  # fmt: skip
    users, items, split = zip(*rows, strict=True)
    table = pa.table({"user_id": users, "item_id": [f"i{n}" for n in items], "split": split})
    data = Interactions.from_table(table, run.items["item_id"])
    scorer = Factors(np.ones((5, 1), np.float32), -np.arange(1, N_ITEMS + 1, dtype="f4")[:, None])
    held_out = Run(run.path, run.config, {}, data, run.items, scorer)
    found = beyond_accuracy(held_out, at=2)  # of the items 1 and 2; 0 and 3; 3 and 4
    assert found["popularity@2"] == pytest.approx((1 / 2 + 2 / 2 + 0) / 3)
    profiles = (2 + (1 + 0) / 2 + (2 + 1 + 0) / 3) / 3
    assert found["popularity-lift@2"] == pytest.approx((1 / 2 - profiles) / profiles)
    active = [(row["group"], row["least"], row["most"]) for row in by_group(held_out, at=2)[:3]]
    assert active == [("few", 1, 1), ("some", 2, 2), ("many", 3, 3)]
