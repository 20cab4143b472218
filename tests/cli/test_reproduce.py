"""``mmx reproduce`` as its users type it; in this process where that shows the same, sooner."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from mmx.cli.app import app
from mmx.errors import OptionError
from tests.cli.conftest import Shop

PLAN: dict[str, Any] = {
    "datasets": {"shop": {"data": "absent", "split": "random"}},
    "features": {"none": "none", "toy": {"stores": ["cache/toy.parquet:image"]}},
    "recommenders": {"bpr": None, "vbpr": None},
    "training": {"epochs": 2},
    "baseline": "toy",
}
HERE = ("plan.yaml", "--data", "shop=data")


@pytest.fixture
def plan(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """The shop as working directory, with plan.yaml."""
    monkeypatch.chdir(shop.path)
    (shop.path / "plan.yaml").write_text(yaml.safe_dump(PLAN))
    return shop


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["reproduce", *arguments])


def test_run_and_run_again(plan: Shop) -> None:
    listed = json.loads(run(*HERE, "--dry-run", "--json").stdout)
    assert [(row["cell"], row["state"]) for row in listed] == [
        ("shop-none-bpr-s0", "to do"),
        ("shop-toy-vbpr-s0", "to do"),
    ]
    assert not (plan.path / "runs/plan").exists()
    told = run(*HERE)
    assert told.exit_code == 0
    assert "recall@20" in told.stdout
    assert "uniformity_image" in told.stdout
    assert "'toy'" in (plan.path / "runs/plan/table.md").read_text()  # the baseline is named
    for option in ((), ("--tables",)):
        made = json.loads(run(*HERE, "--json", *option).stdout)
        assert [row["recommender"] for row in made["results"]] == ["bpr", "vbpr"]
        assert made["failures"] == []
    listed = json.loads(run(*HERE, "--dry-run", "--json").stdout)
    assert {row["state"] for row in listed} == {"finished"}


def test_failures_are_listed_and_the_code_is_1(plan: Shop) -> None:
    features = {"none": "none", "toy": {"stores": ["cache/absent.parquet"]}}
    (plan.path / "bad.yaml").write_text(yaml.safe_dump({**PLAN, "features": features}))
    said = plan.refused("reproduce", "bad.yaml", "--data", "shop=data", "--quiet")
    assert said.startswith("mmx: error: shop-toy-vbpr-s0: cannot read ")
    assert "cache/absent.parquet" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("absent.yaml",), "cannot read absent.yaml"),
        (("plan.yaml", "--data", "shop"), "--data shop: NAME=DIR is expected"),
        (("plan.yaml", "--data", "shpo=x"), "did you mean 'shop'?"),
        (("plan.yaml", "--only", "x"), "--only 'x' matches no cell"),
    ],
)
def test_mistakes(plan: Shop, arguments: tuple[str, ...], said: str) -> None:
    error = run(*arguments).exception
    assert isinstance(error, OptionError)
    assert said in str(error)
