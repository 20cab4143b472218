"""docs/own.md is run as it is written."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from hashlib import sha256

import pyarrow.parquet as pq
import pytest

import mmx
from tests.cli.conftest import Shop
from tests.own.pages import CHECKS, ENCODER, MODEL


@pytest.mark.parametrize("text", [MODEL, ENCODER])
def test_a_template_has_forty_lines(text: str) -> None:
    assert len(text.splitlines()) <= 40
    assert max(map(len, text.splitlines())) <= 100


def test_the_templates_from_python(own: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own.path)
    report = mmx.encode("data", "colours.py:Colours", "c.parquet", code="colours.py")
    assert report.encoded == 24
    job = mmx.TrainJob(
        "data", "mine.py:Model", "c.parquet", ["dim=4"], code="mine.py",
        training=mmx.TrainOptions(epochs=2),
    )  # fmt: skip
    assert mmx.fit(job).path.name == "mine-Model-c"
    run = mmx.fit(mmx.TrainJob("data", "recent.py:Recent", code="recent.py"))
    assert run.config["settings"] == {"power": 0.5}


def test_a_fault_is_one_line_of_the_command(own: Shop) -> None:
    (own.path / "mine.py").write_text(MODEL.replace('features="required"', 'features="none"'))
    said = own.refused("train", "--model", "mine.py:Model", "--data", "data", "--set", "dim=4")
    assert re.search(r": mine\.py:\d+: Model\.__init__ raised \w+: .* --debug", said)  # cat of none


@pytest.mark.slow
def test_the_templates_by_the_commands(own: Shop) -> None:
    own.mmx("extract", "--model", "colours.py:Colours", "--data", "data", "--processes", "2")
    store = own.path / "cache/colours-Colours.parquet"
    card = json.loads(pq.read_schema(store).metadata[b"mmx.card"])
    assert card["name"] == "colours.py:Colours"
    digest = sha256(ENCODER.encode()).hexdigest()
    assert card["extra"]["code"] == {"name": "colours.py:Colours", "sha256": digest}
    own.mmx(
        "train", "--model", "mine.py:Model", "--data", "data", "--features", str(store),
        "--set", "dim=8", "--epochs", "2",
    )  # fmt: skip
    config = json.loads((own.path / "runs/mine-Model-colours-Colours/config.json").read_text())
    assert (config["model"], config["settings"]["dim"]) == ("mine.py:Model", 8)
    digest = sha256(MODEL.encode()).hexdigest()
    assert config["code"] == {"name": "mine.py:Model", "sha256": digest}
    (own.path / "mine.py").unlink()  # scoring needs no code
    run = "runs/mine-Model-colours-Colours"
    rows = own.json("recommend", run, "--user", "user-001", "--k", "3")
    assert len(rows) == 3


@pytest.mark.slow
def test_the_checks_of_the_page(own: Shop) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHECKS], cwd=own.path, capture_output=True, text=True, timeout=180,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not done.stderr
