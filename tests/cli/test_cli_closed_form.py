"""Closed forms, fusion, newcomers and cold items through the commands a user types."""

from __future__ import annotations

import inspect
import json
import shutil

import pyarrow.parquet as pq
import pytest
import typer.main

from mmx.cli.app import app
from mmx.recommend.facts import LR
from mmx.recommend.features import FeatureSpec
from mmx.recommend.fit import fit
from mmx.recommend.fuse import fuse
from mmx.recommend.job import TrainJob
from mmx.recommend.models import MODELS, find_model
from mmx.recommend.options import EVALUATIONS, STEPS, TrainOptions
from tests.catalogue import plain_catalogue, random_log, write_interactions
from tests.cli.conftest import Shop

pytestmark = pytest.mark.slow

CLOSED = [name for name, record in MODELS.items() if record.closed_form]
FEATURES = ("--features", "cache/toy.parquet")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop with a run of every closed form; item i39 is in the test split alone."""
    shop = Shop(tmp_path_factory.mktemp("closed"))
    data = plain_catalogue(shop.path / "data", items=40)
    log = random_log(30, 39, 12)
    split = (["train"] * 9 + ["valid"] + ["test"] * 2) * 30
    log += [(f"u{u}", "i39") for u in range(7)]
    write_interactions(data, log, split=[*split, *["test"] * 7])
    shop.mmx("extract", "--model", "toy", "--data", "data")
    for model in CLOSED:  # the library call spares the time a process takes to start
        needed = [] if find_model(model).features == "none" else [shop.path / FEATURES[1]]
        job = TrainJob(data, model, [FeatureSpec(path) for path in needed])
        fit(job, shop.path / "runs" / model)
    fuse([shop.path / "runs" / name for name in ("ease", "popularity")], shop.path / "runs/pair")
    return shop


@pytest.mark.parametrize("model", [*CLOSED, "pair"])
def test_the_run_directory(store: Shop, model: str) -> None:
    run = store.path / "runs" / model
    config = json.loads((run / "config.json").read_text())
    assert config["best_epoch"] is None
    assert config["scorer"]["kind"] in ("factors", "item-item", "fused")
    history = pq.read_table(run / "history.parquet").to_pylist()
    assert len(history) == 1
    assert history[0]["seconds"] > 0
    has_vectors = "embedding" in pq.read_schema(run / "items.parquet").names
    assert has_vectors == (config["scorer"]["kind"] == "factors")
    assert pq.read_table(run / "per_user.parquet").num_rows == 30


def test_an_epoch_that_was_not_validated_is_a_null(store: Shop) -> None:
    training = TrainOptions(epochs=3, eval_every=2, batch_size=64)
    fit(TrainJob(store.path / "data", "bpr", [], training=training), store.path / "runs" / "bpr")
    history = pq.read_table(store.path / "runs" / "bpr" / "history.parquet").to_pylist()
    assert [row["valid_recall@20"] is None for row in history] == [True, False, False]
    assert all(row["loss"] > 0 for row in history)


def test_train_evaluate_recommend(store: Shop) -> None:
    told = store.json(
        "train", "--model", "ease-content", "--data", "data", *FEATURES, "--set", "reg=20",
        "--set", "weights=image:1,text:3", "--set", "keep=9",
    )  # fmt: skip
    assert (told["run"], told["best_epoch"]) == ("runs/ease-content-toy", None)
    for run in (told["run"], "runs/pair"):
        kept = json.loads((store.path / run / "metrics.json").read_text())
        assert store.json("evaluate", run)["test"] == pytest.approx(kept["test"])
    rows = store.json("recommend", "runs/pair", "--user", "u3", "--k", "5")
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["score"] for row in rows] == sorted((r["score"] for r in rows), reverse=True)


def test_someone_new(store: Shop) -> None:
    rows = store.json("recommend", "runs/pair", "--items-from", "i1,i2", "--k", "4")
    assert {row["user_id"] for row in rows} == {None}
    assert len(rows) == 4
    assert not {"i1", "i2"} & {row["item_id"] for row in rows}
    (store.path / "mine.txt").write_text("i1\ni2\n\n")
    store.mmx("recommend", "runs/pair", "--items-from", "@mine.txt", "--k", "4",
              "--out", "new.parquet")  # fmt: skip
    table = pq.read_table(store.path / "new.parquet")
    assert table.column_names == ["user_id", "rank", "item_id", "score"]
    assert table["item_id"].to_pylist() == [row["item_id"] for row in rows]
    assert "word" in store.mmx("recommend", "runs/ease", "--items-from", "i1").stdout


def test_cold_items_are_reported_apart(store: Shop) -> None:
    cold = store.json("evaluate", "runs/itemknn-cbf", "--cold")
    assert cold["tail"] == 0
    assert (cold["counts"]["test_users"], cold["counts"]["test_items"]) == (7, 1)
    said = store.mmx("evaluate", "runs/ease", "--cold")
    assert "ease cannot score items that nobody took" in said.stderr
    assert "7 users, 1 different items" in said.stderr


def test_fuse_says_its_weights(store: Shop) -> None:
    told = store.mmx("fuse", "runs/ease", "runs/itemknn", "runs/itemknn-cbf")
    path = "runs/fusion-ease-itemknn-itemknn-cbf"
    assert path in told.stderr
    parts = json.loads((store.path / path / "config.json").read_text())["parts"]
    assert sum(part["weight"] for part in parts) == pytest.approx(1)
    for part, name in zip(parts, ("ease", "itemknn", "itemknn-cbf"), strict=True):
        assert part["run"] == f"runs/{name}"
        assert f"{part['weight']:.2f} × runs/{name}\n" in told.stderr


def test_sql_over_a_run_without_embeddings(store: Shop) -> None:
    rows = store.json("sql", "select count(*) as n from ease.items join ease.per_user on true")
    assert rows == [{"n": 40 * 30}]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("train", "--model", "ease", "--data", "data", "--lr-decay", "0.9"), 2, "drop --lr-decay"),
        (
            ("train", "--model", "ease", "--data", "data", "--mirror-gradient", "0.1"),
            2,
            "ease has a closed form and no epochs; drop --mirror-gradient",
        ),
        (
            ("train", "--model", "bpr", "--data", "data", "--mirror-every", "2"),
            2,
            "--mirror-every needs --mirror-gradient",
        ),
        (("train", "--model", "itemknn-cbf", "--data", "data"), 2, "needs item features"),
        (
            ("train", "--model", "ease", "--data", "data", "--set", "reg=-1"),
            2,
            "reg=-1: above 0",
        ),
        (("evaluate", "runs/ease", "--cold", "--tail", "3"), 2, "--cold means --tail 0"),
        (("evaluate", "runs/ease", "--cold", "--split", "valid"), 1, "raise --tail"),
        (("recommend", "runs/ease", "--items-from", "i1", "--user", "u1"), 2, "give one of"),
        (("recommend", "runs/ease", "--items-from", ""), 2, "at least one"),
        (("fuse", "runs/ease"), 2, "two or more different runs"),
    ],
)
def test_mistakes_are_one_clear_line(
    store: Shop, arguments: tuple[str, ...], code: int, said: str
) -> None:
    assert said in store.refused(*arguments, code=code)


def test_a_torn_run_is_refused(store: Shop) -> None:
    shutil.copytree(store.path / "runs/itemknn", store.path / "torn")
    weights = store.path / "torn/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:40])
    assert "is broken" in store.refused("evaluate", "torn")


def test_models_say_what_they_can(store: Shop) -> None:
    found = {record["model"]: record for record in store.json("models")}
    for name, record in MODELS.items():
        assert found[name]["cold items"] == record.cold_items
        assert found[name]["end to end"] == record.end_to_end
        assert found[name]["weights"]
    assert found["itemknn-cbf"]["cold items"]
    assert all(found[name]["trained"] == "in closed form" for name in CLOSED)
    assert found["bpr"]["trained"] == "in epochs"
    assert all(found[name]["new users"] for name in CLOSED)
    assert found["vbpr"]["end to end"]


def test_the_help_names_the_true_defaults() -> None:
    """They are written twice, so that the options can tell whether they were given."""
    train = vars(typer.main.get_command(app))["commands"]["train"]
    shown = {p.name: str(p.default) if p.show_default is True else p.show_default
             for p in train.params}  # fmt: skip
    for name, parameter in inspect.signature(TrainOptions).parameters.items():
        if name == "patience":
            assert shown[name] == f"{EVALUATIONS}, and at least {STEPS:,} steps"
        elif name == "lr":
            assert shown[name] == f"the model's, mostly {LR}"
        else:
            assert shown[name] == str(parameter.default), name
