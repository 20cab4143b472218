"""The tour of the README, command by command, in a subprocess."""

from __future__ import annotations

import json

import duckdb
import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import Shop


def test_extract_again_reuses(shop: Shop) -> None:
    told = shop.json("extract", "--model", "toy", "--data", "data")
    assert (told["encoded"], told["reused"], told["store"]) == (0, 40, "cache/toy.parquet")
    assert told["statuses"] == {"image": {"ok": 40}, "text": {"ok": 40}}


def test_info_of_a_store(shop: Shop) -> None:
    facts = shop.json("info", "cache/toy.parquet", "--verify")
    assert facts["rows"] == 40
    assert facts["card"]["name"] == "toy"
    assert facts["verified"] is True
    assert "card.architecture" in shop.mmx("info", "cache/toy.parquet").stdout


def test_info_of_a_dataset_and_a_run(shop: Shop) -> None:
    assert shop.json("info", "data")["interactions"] == 360
    facts = shop.json("info", "runs/vbpr-toy")
    assert (facts["users"], facts["items"]) == (30, 40)


def test_info_says_when_a_store_is_broken(shop: Shop) -> None:
    table = pq.read_table(shop.path / "cache/toy.parquet")
    place = table.schema.get_field_index("image_status")
    wrong = table.set_column(place, "image_status", [["file not found"] * 40])
    pq.write_table(wrong.replace_schema_metadata(table.schema.metadata), shop.path / "bad.parquet")
    assert "contradicts image" in shop.refused("info", "bad.parquet", "--verify")


def test_sql(shop: Shop) -> None:
    query = "select item_id, array_cosine_similarity(image, image) as one from toy order by 1"
    rows = shop.json("sql", query)
    assert len(rows) == 40
    assert abs(rows[0]["one"] - 1) < 1e-6
    assert "i0" in shop.mmx("sql", f"{query} limit 1").stdout
    joined = 'select count(*) as n from "vbpr-toy".per_user join "vbpr-toy".users using (user_id)'
    assert shop.json("sql", joined) == [{"n": 30}]
    shop.mmx("sql", query, "--out", "out.csv")
    assert (shop.path / "out.csv").read_text().count("\n") == 41


def test_the_run_directory(shop: Shop) -> None:
    run = shop.path / "runs/vbpr-toy"
    metrics = json.loads((run / "metrics.json").read_text())
    assert set(metrics) == {"valid", "test", "counts"}
    assert 0 <= metrics["test"]["recall@20"] <= 1
    assert {p.name for p in run.iterdir()} == {
        "config.json", "metrics.json", "history.parquet", "per_user.parquet", "users.parquet",
        "items.parquet", "interactions.parquet", "model.safetensors",
    }  # fmt: skip
    mean = duckdb.sql(f"select avg(\"ndcg@10\") from '{run}/per_user.parquet'").fetchall()
    assert abs(mean[0][0] - metrics["test"]["ndcg@10"]) < 1e-12


def test_evaluate_gives_the_metrics_of_the_run(shop: Shop) -> None:
    kept = json.loads((shop.path / "runs/vbpr-toy/metrics.json").read_text())
    assert shop.json("evaluate", "runs/vbpr-toy")["test"] == kept["test"]
    tail = shop.json("evaluate", "runs/vbpr-toy", "--tail", "3")
    assert tail["counts"]["test_users"] < kept["counts"]["test_users"]
    assert "recall" in shop.mmx("evaluate", "runs/vbpr-toy", "--split", "valid").stdout


def test_recommend_one_user(shop: Shop) -> None:
    rows = shop.json("recommend", "runs/vbpr-toy", "--user", "u3", "--k", "5")
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5]
    taken = {
        row["item_id"]
        for row in pq.read_table(shop.path / "data/interactions.parquet").to_pylist()
        if row["user_id"] == "u3"
    }
    assert not taken & {row["item_id"] for row in rows}
    table = shop.mmx("recommend", "runs/vbpr-toy", "--user", "u3", "--k", "5").stdout
    assert rows[0]["item_id"] in table
    assert "word" in table


def test_recommend_filters_never_return_less_than_k(shop: Shop) -> None:
    only = ",".join(f"i{n}" for n in range(30, 40))
    rows = shop.json(
        "recommend", "runs/vbpr-toy", "--user", "u3", "--only", only, "--exclude", "i39",
        "--seen", "none", "--k", "9",
    )  # fmt: skip
    assert {row["item_id"] for row in rows} == {f"i{n}" for n in range(30, 39)}


def test_recommend_everyone(shop: Shop) -> None:
    shop.mmx("recommend", "runs/vbpr-toy", "--all", "--k", "4", "--out", "recs.parquet")
    table = pq.read_table(shop.path / "recs.parquet")
    assert table.column_names == ["user_id", "rank", "item_id", "score"]
    assert table.num_rows == 30 * 4
    one = shop.json("recommend", "runs/vbpr-toy", "--user", "u3", "--k", "4")
    mine = [row["item_id"] for row in table.to_pylist() if row["user_id"] == "u3"]
    assert mine == [row["item_id"] for row in one]


@pytest.mark.slow
def test_two_runs_of_one_name_do_not_collide(shop: Shop) -> None:
    for expected in ("runs/bpr", "runs/bpr-2"):
        told = shop.json("train", "--data", "data", "--model", "bpr", "--epochs", "1")
        assert told["run"] == expected


def test_features_of_two_stores_join_by_id(shop: Shop) -> None:
    shop.mmx("extract", "--model", "toy", "--data", "data", "--modalities", "image",
             "--out", "cache/pictures.parquet")  # fmt: skip
    told = shop.json(
        "train", "--data", "data", "--features", "cache/pictures.parquet",
        "--features", "cache/toy.parquet:text", "--epochs", "1", "--out", "runs/joined",
    )  # fmt: skip
    config = json.loads((shop.path / told["run"] / "config.json").read_text())
    assert [f["modality"] for f in config["features"]] == ["image", "text"]


def test_listings(shop: Shop) -> None:
    encoders, models = shop.json("encoders"), shop.json("models")
    assert {"clip", "toy"} <= {record["spec"] for record in encoders}
    assert {"bpr", "vbpr"} <= {record["model"] for record in models}
    assert "VBPR" in shop.mmx("models").stdout
