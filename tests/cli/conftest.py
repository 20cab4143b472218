"""A little shop with a store and a run, made once by the commands a user types."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.catalogue import plain_catalogue, random_log, write_interactions
from tests.fork_server import run_mmx, started_mmx


@dataclass(frozen=True)
class Shop:
    """A working directory in which ``mmx`` runs; ``started``: each time by a Python of its own."""

    path: Path
    started: bool = False

    def mmx(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run the CLI as its users do and check the exit code."""
        done = (started_mmx if self.started else run_mmx)(arguments, self.path)
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *arguments: str) -> Any:
        """Run with --json and parse what is printed."""
        return json.loads(self.mmx(*arguments, "--json").stdout)

    def refused(self, *arguments: str, code: int = 1) -> str:
        """Run what must fail; the one line it says."""
        done = self.mmx(*arguments, code=code)
        assert "Traceback" not in done.stderr
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("mmx: error:")]
        return line


@pytest.fixture(autouse=True)
def not_quiet_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """What --quiet sets for the process is taken back after a test that has commands in its own.

    So is that the process is the program's, in which --quiet sets environment variables, too.
    """
    monkeypatch.setattr("mmx.cli.output.settings.quiet", False)
    monkeypatch.setattr("mmx.cli.output.settings.program", False)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Items, interactions, cache/toy.parquet and runs/vbpr-toy."""
    shop = Shop(tmp_path_factory.mktemp("shop"))
    plain_catalogue(shop.path / "data", items=40)
    write_interactions(shop.path / "data", random_log(30, 40, 12))
    shop.mmx("extract", "--model", "toy", "--data", "data")
    shop.mmx("train", "--features", "cache/toy.parquet", "--data", "data", "--epochs", "3")
    return shop
