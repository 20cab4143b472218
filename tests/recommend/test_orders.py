"""No result hangs on the order of a file: equal scores rank by a hash of the item id."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from mmx.data.splits import SplitRule
from mmx.recommend.features import FeatureSpec
from mmx.recommend.fit import fit
from mmx.recommend.fuse import fuse
from mmx.recommend.job import TrainJob
from mmx.recommend.models import MODELS, find_model
from mmx.recommend.options import TrainOptions
from mmx.recommend.recommend_options import RecommendOptions
from mmx.recommend.recommendation import recommend_all
from mmx.recommend.run import Run
from tests.recommend import kit
from tests.recommend.slow import slow_metric

EPOCHS = 2
CUTOFFS = (5, 10, 20, 50)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, kit.Place]:
    """The kit's dataset as it is, and with the rows of its three files shuffled."""
    made = {n: kit.write_place(tmp_path_factory.mktemp(n)) for n in ("plain", "shuffled")}
    for seed, path in enumerate(sorted(made["shuffled"].data.glob("*.parquet"))):
        table = pq.read_table(path)
        rows = np.random.default_rng(seed).permutation(table.num_rows)
        pq.write_table(table.take(pa.array(rows)), path)
    return made


def trained(place: kit.Place, name: str, out: Path, rule: str = "given") -> Run:
    features = [] if find_model(name).features == "none" else [FeatureSpec(place.store)]
    training = TrainOptions(epochs=EPOCHS, batch_size=64, lr=0.01)
    split = SplitRule(rule, seed=3)  # type: ignore[arg-type]
    return fit(TrainJob(place.data, name, features, split=split, training=training), out)


def lists(run: Run, k: int = 50) -> pa.Table:
    return pa.concat_tables(
        recommend_all(run, RecommendOptions(k=k, seen="train"))
    ).combine_chunks()


@pytest.fixture(scope="module")
def plain(
    places: dict[str, kit.Place], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Run]:
    """The run of a model, or of their fusion, on the files as they are; each is trained once."""
    root = tmp_path_factory.mktemp("runs")

    @cache
    def run_of(name: str, rule: str) -> Run:
        if name == "fusion":
            parts = [run_of(one, rule).path for one in ("itemknn", "popularity", "bpr")]
            return fuse(parts, root / rule / name)
        return trained(places["plain"], name, root / rule / name, rule)

    return lambda name, rule="given": run_of(name, rule)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_shuffled_files_give_the_same_run(
    name: str, places: dict[str, kit.Place], plain: Callable[..., Run], tmp_path: Path
) -> None:
    for rule in ("given", "random"):
        runs = [plain(name, rule), trained(places["shuffled"], name, tmp_path / rule, rule)]
        assert runs[0].metrics == runs[1].metrics
        assert lists(runs[0]).equals(lists(runs[1]))
        splits = [pq.read_table(run.path / "interactions.parquet") for run in runs]
        keys = [("user_id", "ascending"), ("item_id", "ascending")]
        assert splits[0].sort_by(keys).equals(splits[1].sort_by(keys))


def by_popularity(directory: Path, order: str) -> Path:
    """A catalogue whose rows come by falling popularity, the other way round, or by chance."""
    users, items, each = 200, 150, 12
    rng = np.random.default_rng(0)
    weights = 1 / np.arange(1, items + 1)
    taken = [
        rng.choice(items, each, replace=False, p=weights / weights.sum()) for _ in range(users)
    ]
    rows = {"sorted": np.arange(items), "reversed": np.arange(items)[::-1]}
    rows["shuffled"] = rng.permutation(items)
    directory.mkdir()
    pq.write_table(
        pa.table({"item_id": [f"i{n}" for n in rows[order]]}), directory / "items.parquet"
    )
    pairs = [(f"u{u}", f"i{i}") for u, mine in enumerate(taken) for i in mine]
    log = pa.table({"user_id": [u for u, _ in pairs], "item_id": [i for _, i in pairs]})
    pq.write_table(log, directory / "interactions.parquet")
    return directory


def test_constant_scores_get_what_chance_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In catalogue order they had Recall@20 0.59 on sorted rows and 0.02 on reversed ones."""
    from mmx.recommend.models import popularity
    from mmx.recommend.scoring import Factors

    def constant(config: object, world: object) -> Factors:
        shape = (world.n_users, world.n_items)  # type: ignore[attr-defined]
        return Factors(*(np.ones((count, 1), np.float32) for count in shape))

    monkeypatch.setattr(popularity, "fit", constant)
    found = set()
    for order in ("sorted", "reversed", "shuffled"):
        data = by_popularity(tmp_path / order, order)
        run = fit(TrainJob(data, "popularity"), tmp_path / "runs" / order)
        found.add(run.metrics["test"]["recall@20"])
    (recall,) = found
    assert 0.05 < recall < 0.35  # 20 of 150 items by chance are 0.13


@pytest.mark.parametrize("name", [*sorted(MODELS), "fusion"])
def test_metrics_can_be_made_again_from_the_lists(name: str, plain: Callable[..., Run]) -> None:
    """With loops, from ``recommend --all --seen train`` and the run's own interactions."""
    run = plain(name)
    log = pq.read_table(run.path / "interactions.parquet").to_pylist()
    shown: dict[str, list[str]] = {}
    for row in lists(run).to_pylist():
        shown.setdefault(row["user_id"], []).append(row["item_id"])
    kept = json.loads((run.path / "metrics.json").read_text())
    trained_on = {row["user_id"] for row in log if row["split"] == "train"}
    for split in ("valid", "test"):
        held: dict[str, set[str]] = {}
        for row in log:
            if row["split"] == split and row["user_id"] in trained_on:
                held.setdefault(row["user_id"], set()).add(row["item_id"])
        assert len(held) > 50
        for metric in ("recall", "ndcg", "precision", "map", "hitrate", "mrr"):
            for k in CUTOFFS:
                each = [
                    slow_metric(metric, hits_of(shown.get(user, []), mine), len(mine), k)
                    for user, mine in held.items()
                ]
                assert kept[split][f"{metric}@{k}"] == pytest.approx(np.mean(each), abs=1e-12)


def hits_of(items: list[str], held: set[str]) -> list[bool]:
    return [items[n] in held if n < len(items) else False for n in range(50)]


def test_items_without_evidence_are_no_recommendation(plain: Callable[..., Run]) -> None:
    """They used to fill the list: i1, i2, i3 …, of score 0, by their place in the catalogue."""
    for name in ("itemknn", "itemknn-cbf", "popularity"):
        table = lists(plain(name))
        assert pc.all(pc.greater(table["score"], 0)).as_py()
    table = lists(plain("itemknn"))
    assert not set(table["item_id"].to_pylist()) & set(kit.COLD)
    assert min(pc.value_counts(table["user_id"]).field("counts").to_pylist()) < 50


def test_equal_scores_rank_alike_for_everyone(plain: Callable[..., Run]) -> None:
    """By the order in which the run numbers its items, which is that of the hash."""
    from mmx.data.id_order import hash_order

    run = plain("popularity")
    assert hash_order(run.data.items.ids).tolist() == list(range(len(run.data.items)))
    table = lists(run)
    numbers = run.data.items.numbers(table["item_id"])
    scores, ranks = table["score"].to_numpy(), table["rank"].to_numpy()
    tied = (np.diff(scores) == 0) & (np.diff(ranks) == 1)
    assert tied.sum() > 100
    assert (np.diff(numbers)[tied] > 0).all()
