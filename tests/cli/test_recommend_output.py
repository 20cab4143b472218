"""``mmx recommend``: options that add up, and files as everywhere."""

from __future__ import annotations

import csv
import json
from subprocess import CompletedProcess

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from mmx.cli.app import app
from mmx.errors import MmxError, OptionError
from tests.catalogue import plain_catalogue
from tests.cli.conftest import Shop

RUN = ("recommend", "runs/vbpr-toy", "--user", "u3", "--seen", "none")


@pytest.fixture
def here(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """The shop, whose commands run in this process: torch is loaded once."""
    monkeypatch.chdir(shop.path)
    return InProcess(shop.path)


class InProcess(Shop):
    """``mmx`` without a process of its own."""

    def mmx(self, *arguments: str, code: int = 0) -> CompletedProcess[str]:
        result = CliRunner().invoke(app, [*arguments])
        error = result.exception
        if isinstance(error, MmxError):
            found = 2 if isinstance(error, OptionError) else 1
            result.stderr_bytes += f"mmx: error: {error}\n".encode()
        else:
            found = result.exit_code
        assert found == code, f"{result.output}{error}"
        return CompletedProcess(arguments, found, result.stdout, result.stderr)


def items(rows: list[dict]) -> set[str]:
    return {row["item_id"] for row in rows}


def test_options_add_up(here: Shop) -> None:
    (here.path / "more.txt").write_text("i4\ni5\n")
    only = ("--only", "i1,i2", "--only", "i3", "--only", "@more.txt")
    assert items(here.json(*RUN, *only)) == {"i1", "i2", "i3", "i4", "i5"}
    without = ("--exclude", "i1", "--exclude", "i3,i4", "--exclude", "i1")
    assert items(here.json(*RUN, *only, *without)) == {"i2", "i5"}


def test_a_user_who_is_named_twice_has_one_list(here: Shop) -> None:
    both = here.json(*RUN, "--user", "u1", "--user", "u3", "--k", "2")
    assert [row["user_id"] for row in both] == ["u3", "u3", "u1", "u1"]


def test_what_someone_new_took_adds_up(here: Shop) -> None:
    here.mmx("train", "--model", "itemknn", "--data", "data", "--out", "runs/knn")
    one = here.json("recommend", "runs/knn", "--items-from", "i1,i2", "--items-from", "i3")
    assert one == here.json("recommend", "runs/knn", "--items-from", "i1,i2,i3")
    assert not items(one) & {"i1", "i2", "i3"}


def test_more_items_than_there_are(here: Shop) -> None:
    """A billion of 40 items was killed for memory."""
    done = here.mmx("recommend", "runs/vbpr-toy", "--user", "u1", "--seen", "none",
                    "--k", "1000000000", "--json")  # fmt: skip
    rows = json.loads(done.stdout)
    assert [row["rank"] for row in rows] == list(range(1, 41))
    assert "u1" not in done.stderr  # it is all there is


def test_a_list_that_is_short_is_said(here: Shop) -> None:
    done = here.mmx("recommend", "runs/vbpr-toy", "--user", "u1", "--k", "1000000000")
    assert "u1: 28 of 40 items; the others are hidden, or" in done.stderr
    assert "of" not in here.mmx(*RUN, "--only", "i1,i2").stderr
    done = here.mmx(*RUN, "--only", "i1,i2", "--exclude", "i1")
    assert "u3: 1 of 2 items" in done.stderr


def test_cut_offs_of_ones_own(here: Shop) -> None:
    measured = here.json("evaluate", "runs/vbpr-toy", "--at", "1,7", "--at", "100,7")
    kept = json.loads((here.path / "runs/vbpr-toy/metrics.json").read_text())["test"]
    found = measured["test"]
    assert [name for name in found if name.startswith("ndcg")] == ["ndcg@1", "ndcg@7", "ndcg@100"]
    assert found["recall@1"] < found["recall@7"] < found["recall@100"] == 1.0
    assert kept["recall@5"] <= found["recall@7"] <= kept["recall@10"]
    assert "@7" in here.mmx("evaluate", "runs/vbpr-toy", "--at", "7").stdout
    here.mmx("evaluate", "runs/vbpr-toy", "--at", "1000000000")
    for bad in ("0", "-1", "2.5", "", "5,,6", "k", "9" * 30, "9" * 5000):
        assert "--at" in here.refused("evaluate", "runs/vbpr-toy", f"--at={bad}", code=2)


@pytest.mark.parametrize("text", ["", ",", "@empty.txt"])
def test_an_only_that_is_empty_is_no_all(here: Shop, text: str) -> None:
    (here.path / "empty.txt").write_text("\n")
    assert "--only names no item" in here.refused(*RUN, "--only", text, code=2)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".tsv", ".json", ".jsonl"])
def test_the_suffix_says_the_format(here: Shop, suffix: str) -> None:
    out = f"recs-of-all{suffix}"
    here.mmx("recommend", "runs/vbpr-toy", "--all", "--k", "2", "--out", out)
    path = here.path / out
    if suffix == ".parquet":
        rows = pq.read_table(path).to_pylist()
    elif suffix in (".csv", ".tsv"):
        rows = list(csv.DictReader(path.open(), delimiter="\t" if suffix == ".tsv" else ","))
    else:
        text = path.read_text()
        rows = json.loads(text) if suffix == ".json" else list(map(json.loads, text.splitlines()))
    assert len(rows) == 60
    assert list(rows[0]) == ["user_id", "rank", "item_id", "score"]
    assert "exists; set --out elsewhere, or --overwrite" in here.refused(
        "recommend", "runs/vbpr-toy", "--all", "--out", out
    )
    arguments = ("recommend", "runs/vbpr-toy", "--all", "--k", "1", "--out", out, "--overwrite")
    assert here.json(*arguments) == {"out": out, "rows": 30}


def test_refused_before_any_work(here: Shop) -> None:
    all_of = ("recommend", "runs/nosuch", "--all")  # the run is not even looked at
    assert "its suffix says" in here.refused(*all_of, "--out", "recs.xlsx", code=2)
    assert "no folder no" in here.refused(*all_of, "--out", "no/recs.csv")
    before = (here.path / "runs/vbpr-toy/config.json").read_bytes()
    for out in ("runs/vbpr-toy/config.json", "runs/vbpr-toy/users.parquet", "cache/toy.parquet"):
        assert "is not an earlier table of mmx" in here.refused(
            *all_of, "--out", out, "--overwrite"
        )
    assert (here.path / "runs/vbpr-toy/config.json").read_bytes() == before
    (here.path / "ids.csv").write_text("i1\n")
    assert "is read by this very command" in here.refused(
        *RUN, "--only", "@ids.csv", "--out", "ids.csv", "--overwrite"
    )
    assert "--overwrite goes with --out" in here.refused(*RUN, "--overwrite", code=2)


def test_scores_are_printed_in_full(here: Shop) -> None:
    rows = here.json(*RUN, "--k", "3")
    shown = here.mmx(*RUN, "--k", "3").stdout
    assert all(str(row["score"]) in shown for row in rows)


def test_items_that_the_run_does_not_have(here: Shop) -> None:
    plain_catalogue(here.path / "more", items=43)
    here.mmx("extract", "--model", "toy", "--data", "more", "--out", "cache/more.parquet")
    new = ("--new-items", "cache/more.parquet")
    rows = here.json(*RUN, "--k", "100", *new)
    assert items(rows) - {f"i{n}" for n in range(40)} == {"i40", "i41", "i42"}
    known = {row["item_id"]: row["score"] for row in here.json(*RUN, "--k", "100")}
    assert known.items() <= {row["item_id"]: row["score"] for row in rows}.items()
    assert items(here.json(*RUN, "--only", "i41", *new)) == {"i41"}
    assert "3 new items" in here.mmx(*RUN, *new).stderr
    assert "drop it" in here.refused(*RUN, "--features", "cache/toy.parquet", code=2)
    assert "no item with vectors" in here.refused(*RUN, "--new-items", "cache/toy.parquet")
