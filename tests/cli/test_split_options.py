"""The rules of --split as a user types them."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.catalogue import random_log, write_interactions, write_items
from tests.cli.conftest import Shop

SECONDS = 1_400_000_000  # 2014-05-13


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    shop = Shop(tmp_path_factory.mktemp("splits"))
    write_items(shop.path / "data", [{"item_id": f"i{n}", "text": "a"} for n in range(20)])
    pairs = random_log(30, 20, 6)
    times = [SECONDS + 86400 * (7 * n % len(pairs)) for n in range(len(pairs))]
    write_interactions(shop.path / "data", pairs, timestamp=times)
    return shop


def parts(run: Path) -> dict[str, pa.Table]:
    table = pq.read_table(run / "interactions.parquet")
    return {name: table.filter(pa.compute.equal(table["split"], name)) for name in
            table["split"].unique().to_pylist()}  # fmt: skip


def test_temporal_with_a_date(log: Shop) -> None:
    log.mmx("train", "--data", "data", "--model", "ease", "--split", "temporal", "--at",
            "2014-10-01", "--targets", "last", "--out", "dated")  # fmt: skip
    found = parts(log.path / "dated")
    point = 1412121600
    assert max(found["train"]["timestamp"].to_pylist()) < point
    assert min(found["test"]["timestamp"].to_pylist()) >= point
    assert len(found["test"]) == len(found["test"]["user_id"].unique())
    split = log.json("info", "dated")["config"]["split"]
    assert (split["at"], split["targets"]) == ("2014-10-01", "last")


@pytest.mark.slow
def test_users(log: Shop) -> None:
    done = log.mmx("train", "--data", "data", "--model", "ease", "--split", "users", "--out", "u")
    assert "older than" not in done.stderr
    found = parts(log.path / "u")
    held = set(found["fold-in"]["user_id"].to_pylist())
    assert held == set(pa.concat_tables([found["test"], found["valid"]])["user_id"].to_pylist())
    assert not held & set(found["train"]["user_id"].to_pylist())
    metrics = json.loads((log.path / "u/metrics.json").read_text())
    assert metrics["counts"]["test_users"] == 3


@pytest.mark.slow
def test_cold_items(log: Shop) -> None:
    done = log.mmx("train", "--data", "data", "--model", "ease", "--split", "cold-items",
                   "--at", "0.8", "--out", "cold")  # fmt: skip
    assert "ease cannot score items that nobody took" in done.stderr
    found = parts(log.path / "cold")
    assert not set(found["test"]["item_id"].to_pylist()) & set(
        found["train"]["item_id"].to_pylist()
    )


@pytest.mark.slow
def test_folds_and_what_leaks(log: Shop) -> None:
    done = log.mmx("train", "--data", "data", "--model", "ease", "--folds", "3", "--fold", "2",
                   "--out", "folded")  # fmt: skip
    (line,) = [line for line in done.stderr.splitlines() if "older than" in line]
    assert line.startswith("--split random: ")
    assert len(parts(log.path / "folded")["test"]) == 60
    split = json.loads((log.path / "folded/config.json").read_text())["split"]
    assert (split["rule"], split["folds"], split["fold"]) == ("random", 3, 2)


def test_a_date_outside_of_the_log_is_one_line(log: Shop) -> None:
    said = log.refused("train", "--data", "data", "--model", "ease", "--out", "never",
                       "--split", "temporal", "--at", "2024-01-01")  # fmt: skip
    assert "2014-05-13" in said
    assert not (log.path / "never").exists()


@pytest.mark.slow
def test_weights_as_a_user_gives_them(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    write_items(shop.path / "data", [{"item_id": f"i{n}", "text": "a"} for n in range(20)])
    rows = "".join(f"{u},{i},{n % 3}\n" for n, (u, i) in enumerate(random_log(20, 20, 6)))
    (shop.path / "data/interactions.csv").write_text(f"user_id,item_id,weight\n{rows}")
    command = ("train", "--data", "data", "--model", "popularity", "--out", "run")
    said = shop.refused(*command)
    assert "weight is 0.0 in row 1" in said
    assert "--ignore-weights" in said
    shop.mmx(*command, "--ignore-weights")
    assert json.loads((shop.path / "run/config.json").read_text())["weights"] == "ignored"
