"""Odd but legal values of options: one clear line each, never "unexpected", never ignored."""

from __future__ import annotations

import pytest

from tests.catalogue import plain_catalogue, write_interactions
from tests.cli.conftest import Shop

RUN, STORE = "runs/vbpr-toy", "cache/toy.parquet"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("evaluate", RUN, "--tail", "-1"), "--tail -1: at least 0 is expected"),
        (("evaluate", RUN, "--split", ""), "--split '' is unknown"),
        (("store", "diff", STORE, STORE, "--worst", "-1"), "--worst -1: at least 0 is expected"),
        (("store", "filter", STORE, "--where", "", "--out", "x.parquet"), "--where is empty"),
        (("store", "convert", STORE, "--to", "", "--out", "x"), "--to '' is unknown"),
        (("store", "convert", STORE, "--to", "npy", "--out", "x", "--ids", ""), "go with --from"),
        (("store", "convert", STORE, "--to", "npy", "--out", "x", "--max-file-rows", "0"),
         "go with --from"),
        (("store", "convert", "data", "--from", "nypy", "--out", "x.parquet"),
         "--from nypy is unknown; did you mean 'npy'"),
        (("store", "convert", "data", "--from", "npy", "--encoder", "", "--out", "x.parquet"),
         "--encoder is empty"),
        (("info", ""), "an empty path"),
        (("extract", "--model", "toy", "--data", "data", "--out", ""), "an empty path"),
        (("sql", "select 1", "--store", ""), "an empty path"),
        (("sql", "select 1", "--data", ""), "an empty path"),
        (("train", "--data", "data", "--features", ":image"), "an empty path"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named(shop: Shop, arguments: tuple[str, ...], said: str) -> None:
    assert said in shop.refused(*arguments, code=2)
    assert not (shop.path / "x").exists()


def test_an_empty_id_can_be_seen(shop: Shop) -> None:
    assert "unknown user: ''; users look like" in shop.refused("recommend", RUN, "--user", "")


def test_an_id_of_two_lines_is_one_line(shop: Shop) -> None:
    assert "unknown user: a\\nb; users look like" in shop.refused(
        "recommend", RUN, "--user", "a\nb"
    )


def test_a_missing_shard_names_no_option_that_the_command_lacks(shop: Shop) -> None:
    said = shop.refused("info", "data/{000..003}.tar")
    assert "no shard at data/000.tar; shards are named like" in said
    assert "--" not in said


@pytest.mark.parametrize("model", ["bpr", "mmgcl"])
def test_one_who_took_everything_is_said_and_stops_nobody(shop: Shop, model: str) -> None:
    data = plain_catalogue(shop.path / f"all-{model}", items=12)
    log = [("all", f"i{n}") for n in range(12)]
    log += [(f"u{u}", f"i{n}") for u in range(6) for n in range(u, u + 6)]
    some = ["train"] * 4 + ["valid", "test"]
    write_interactions(data, log, split=["train"] * 12 + some * 6)
    features = ("--features", "cache/toy.parquet") if model == "mmgcl" else ()
    out = ("--out", f"runs/odd-{data.name}-{model}")
    done = shop.mmx(
        "train", "--data", str(data), "--model", model, "--epochs", "1", *out, *features
    )
    (said,) = [line for line in done.stderr.splitlines() if "took every item" in line]
    assert said.startswith("1 user took every item")
    assert said.endswith("12 of 36 training pairs are skipped")
