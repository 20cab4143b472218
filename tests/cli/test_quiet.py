"""``-q``: nothing on stderr, and on stdout only what was asked for."""

from __future__ import annotations

import json
import shutil

import pytest
import typer

from mmx.cli.app import app
from tests.cli.conftest import Shop

PLAN = """
datasets: {shop: {data: data}}
features: {none: none}
recommenders: {popularity: {}}
seeds: [0]
"""

SILENT = {  # commands whose result is a file
    "extract": "extract --model toy --data data --out out.parquet",
    "extract of two processes":
        "extract --model toy --data data --out two.parquet --processes 2 --part-size 10",
    "train": "train --model bpr --data data --epochs 2 --out runs/q",
    "train of a closed form": "train --model popularity --data data --out runs/pop",
    "finetune": "finetune --model clip:mini --data data --epochs 1 --out tuned",
    "fuse": "fuse runs/vbpr-toy runs/q --out runs/fused",
    "run forget-user": "run forget-user runs/q u1",
    "report": "report runs/vbpr-toy",
    "recommend": "recommend runs/vbpr-toy --all --out lists.parquet",
    "sql": "sql select(1) --out one.parquet",
    "store merge": "store merge cache/toy.parquet --out merged.parquet",
    "store filter": "store filter cache/toy.parquet --out some.parquet --where image_status='ok'",
    "export": "export data --to recbole --out exported",
    "import": "import recbole exported --out imported",
    "data pictures": "data pictures imported",
    "store convert": "store convert cache/toy.parquet --to npy --out npy",
}  # fmt: skip
SPOKEN = {  # commands whose result is what they print
    "encoders": "encoders",
    "models": "models",
    "info": "info cache/toy.parquet",
    "evaluate": "evaluate runs/vbpr-toy",
    "compare": "compare runs/vbpr-toy",
    "recommend": "recommend runs/vbpr-toy --user u0",
    "sql": "sql select(1)",
    "data check": "data check data",
    "search": "search word --store cache/toy.parquet",
    "similar": "similar i1 --store cache/toy.parquet",
    "duplicates": "duplicates cache/toy.parquet",
    "store diff": "store diff cache/toy.parquet cache/toy.parquet",
    "doctor": "doctor",
}


@pytest.fixture(scope="module")
def here(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    path = tmp_path_factory.mktemp("quiet") / "shop"
    shutil.copytree(shop.path, path)
    return Shop(path, started=True)  # packages may warn when they are imported


@pytest.mark.slow
def test_commands_that_write_say_nothing(here: Shop) -> None:
    for name, line in SILENT.items():
        done = here.mmx(*line.split(), "-q")
        assert (name, done.stdout, done.stderr) == (name, "", "")
    assert (here.path / "npy").is_dir()  # they did their work


@pytest.mark.slow
def test_commands_that_answer_say_that_alone(here: Shop) -> None:
    for name, line in SPOKEN.items():
        done = here.mmx(*line.split(), "-q")
        assert done.stdout, name
        assert (name, done.stderr) == (name, "")


@pytest.mark.slow
def test_demo(here: Shop) -> None:
    done = here.mmx("demo", "-q")
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.slow
def test_reproduce(here: Shop) -> None:
    (here.path / "plan.yaml").write_text(PLAN)
    done = here.mmx("reproduce", "plan.yaml", "-q")
    assert (done.stdout, done.stderr) == ("", "")
    assert "Results" in here.mmx("reproduce", "plan.yaml", "--tables", "-q").stdout


def test_json_is_asked_for_and_errors_are_said(here: Shop) -> None:
    line = "extract --model toy --data data --out json.parquet -q --json"
    done = here.mmx(*line.split())
    assert json.loads(done.stdout)["encoded"] == 40
    assert done.stderr == ""
    assert here.refused("info", "nowhere", "-q").startswith("mmx: error: ")


def test_every_command_is_here() -> None:
    def names(group: typer.Typer, start: str = "") -> set[str]:
        own = {start + (c.name or str(c.callback.__name__)) for c in group.registered_commands}  # type: ignore[union-attr]
        for inner in group.registered_groups:
            assert inner.typer_instance is not None
            own |= names(inner.typer_instance, f"{inner.name} ")
        return own

    tried = {name.partition(" of ")[0] for name in (*SILENT, *SPOKEN)}
    tried |= {"demo", "reproduce", "serve"}  # the last until it is stopped: tests/serve
    assert names(app) == tried
