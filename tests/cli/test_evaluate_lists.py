"""``mmx evaluate --lists``, ``--beyond`` and ``--groups`` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from mmx.cli.app import app
from mmx.errors import MmxError
from tests.catalogue import random_log, write_interactions, write_items


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset, runs/ease that kept its lists, and broken.csv."""
    folder = tmp_path_factory.mktemp("lists")
    write_items(folder / "data", [{"item_id": f"i{n}", "text": f"{n % 2}"} for n in range(25)])
    write_interactions(folder / "data", random_log(20, 25, 8))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = run("train", "--model", "ease", "--data", "data", "--keep-lists", "50", "--k-core",
                   "2", "--seed", "3")  # fmt: skip
    assert done.exit_code == 0, done.exception
    return folder


@pytest.fixture(autouse=True)
def _there(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments])


LISTS = ("evaluate", "--lists", "runs/ease/lists.parquet")


def test_lists_become_a_run() -> None:
    """By the options of a split, or by the run that has it; shown as any other."""
    own = json.loads(Path("runs/ease/metrics.json").read_text())["test"]
    rule = ("--k-core", "2", "--seed", "3", "--split", "random")
    done = run(*LISTS, "--data", "data", *rule, "--name", "rival", "--json")
    assert done.exit_code == 0, done.exception
    found = json.loads(done.stdout)
    assert found["run"] == "runs/rival"
    assert found["test"] == own
    assert "valid" not in found
    assert sorted(found["counts"]) == ["test_items", "test_users", "test_users_without_training"]
    done = run(*LISTS, "--split-of", "runs/ease", "--out", "here", "--seed", "4")
    assert "here: the lists of ease-lists" in done.stderr
    assert "test: 20 users" in done.stderr
    config = json.loads(Path("here/config.json").read_text())
    assert config["training"] == {"seed": 4}
    assert config["split"]["seed"] == 3
    shown = json.loads(run("info", "runs/rival", "--verify", "--json").stdout)
    assert shown["verified"]
    assert shown["config"]["model"] == "lists"


def test_beyond_and_groups() -> None:
    done = run("evaluate", "runs/ease", "--beyond", "--category", "text", "--groups", "--at", "7")
    assert done.exit_code == 0, done.exception
    for word in ("gini", "novelty", "popularity-lift", "diversity:text", "few", "torso", "ndcg@7"):
        assert word in done.stdout
    assert "cold has no value" in done.stderr
    wide = json.loads(run("evaluate", "runs/ease", "--beyond", "--groups", "--json").stdout)
    assert 0 < wide["beyond"]["coverage@20"] <= 1
    assert [row["group"] for row in wide["groups"]][-1] == "harmonic mean"
    assert wide["groups"][-2]["recall@20"] is None
    plain = json.loads(run("evaluate", "runs/ease", "--json").stdout)
    assert sorted(plain) == ["counts", "run", "tail", "test"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("evaluate",), "give either a run directory or --lists FILE"),
        ((*LISTS, "runs/ease"), "give either a run directory or --lists FILE"),
        (("evaluate", "runs/ease", "--data", "data"), "--data goes with --lists"),
        (("evaluate", "runs/ease", "--k-core", "5"), "--k-core goes with --lists"),
        (("evaluate", "runs/ease", "--min-rating", "0"), "--min-rating goes with --lists"),
        (("evaluate", "runs/ease", "--split", "random"), "--split random is unknown"),
        (("evaluate", "runs/ease", "--store", "x.parquet"), "--store goes with --beyond"),
        ((*LISTS, "--groups"), "--groups takes a run; evaluate the one that --lists makes"),
        ((*LISTS, "--tail", "0"), "--tail takes a run"),
        ((*LISTS, "--at", "0.8", "--at", "0.9"), "--at with --lists is the point of the split"),
        ((*LISTS, "--data", "data", "--at", "0.8"), "--at needs --split temporal"),
        ((*LISTS, "--data", "data", "--split", "test"), "--split test is unknown"),
        ((*LISTS, "--split-of", "runs/ease", "--data", "data"), "--data or as --split-of RUN; giv"),
        ((*LISTS, "--split-of", "runs/ease", "--k-core", "2"), "drop the options of a split"),
        ((*LISTS, "--split-of", "runs/ease", "--split", "auto"), "drop the options of a split"),
        ((*LISTS, "--split-of", "absent"), "no run at absent"),
        ((*LISTS, "--data", "absent"), "no dataset at absent"),
        ((*LISTS, "--data", "data", "--overwrite"), "--overwrite goes with --out"),
        (("train", "--model", "ease", "--keep-lists", "-2"), "--keep-lists -2: at least 0"),
    ],
)
def test_mistakes(arguments: tuple[str, ...], said: str) -> None:
    error = run(*arguments).exception
    assert isinstance(error, MmxError)
    assert said in str(error)
    assert "\n" not in str(error)


def test_a_list_of_another_dataset(tmp_path: Path) -> None:
    strange = tmp_path / "strange.parquet"
    rows = {"user_id": ["someone"], "item_id": ["i1"], "score": [1.0]}
    pq.write_table(pa.table(rows), strange)
    error = run("evaluate", "--lists", str(strange), "--split-of", "runs/ease").exception
    assert "a list of none of the 20 test users: its users look like someone" in str(error)
    assert not Path("runs/strange").exists()
