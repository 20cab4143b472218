"""Features under a control, as users type it; in this process."""

from __future__ import annotations

import json

import pytest
import yaml
from typer.testing import CliRunner, Result

from mmx.cli.app import app
from mmx.errors import OptionError
from tests.cli.conftest import Shop

TRAIN = ("train", "--data", "data", "--features", "cache/toy.parquet", "--epochs", "1")


@pytest.fixture(autouse=True)
def _here(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop.path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_a_run_under_a_control(shop: Shop) -> None:
    """It says so, its name has it, and it is used as any other run."""
    told = run(*TRAIN, "--control", "drop:0.5", "--seed", "4")
    assert told.exit_code == 0
    assert "control drop:0.5: the vectors of 20 of 40 items are not their own" in told.stderr
    assert "image: 20 of 40 items have a vector" in told.stderr
    name = "runs/vbpr-toy-drop-0.5"
    facts = json.loads(run("info", name, "--json").stdout)
    assert facts["config"]["control"] == {"arm": "drop:0.5", "seed": 4}
    assert "drop:0.5" in run("info", name).stdout
    assert run("evaluate", name).exit_code == 0
    assert run("recommend", name, "--user", "u1").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*TRAIN, "--control", "dorp:0.3"), "--control dorp is unknown; did you mean 'drop'?"),
        ((*TRAIN, "--control", "drop"), "a share is expected, as drop:0.3"),
        (("train", "--data", "data", "--model", "ease", "--control", "noise"),
         "ease uses no features; drop --control, or --model vbpr"),
        (("train", "--data", "data", "--end-to-end", "--encoder", "clip:mini", "--control",
          "noise"), "--control is for features that are ready; drop --end-to-end, or it"),
    ],
)  # fmt: skip
def test_refused(arguments: tuple[str, ...], said: str) -> None:
    error = run(*arguments).exception
    assert isinstance(error, OptionError)
    assert said in str(error)


def test_a_plan_says_what_is_left(shop: Shop) -> None:
    plan = {
        "datasets": {"shop": {"data": "data"}},
        "features": {"none": "none", "toy": {"stores": ["cache/toy.parquet:image"]}},
        "recommenders": {"popularity": None, "itemknn-cbf": None},
        "control": ["constant"],
    }
    (shop.path / "controls.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    told = run("reproduce", "controls.yaml")
    assert told.exit_code == 0
    assert "constant" in told.stdout
    said = " ".join(told.stderr.split())
    assert "What is left of a gain when features say nothing of their item" in said
    assert "shop: itemknn-cbf with toy has recall@20 0." in said
    made = json.loads(run("reproduce", "controls.yaml", "--tables", "--json").stdout)
    assert [row["control"] for row in made["table"]] == [None, None, "constant"]
    assert {row["without"] for row in made["controls"]} == {"popularity"}
    assert len(made["words"]) == 1
    assert "What is left" not in run("reproduce", "controls.yaml", "--quiet").stderr
