"""Kill -9 at random moments: the same command resumes and ends in the same bytes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.catalogue import plain_catalogue

KILLS = 6  # that hit a run at work
TRIES = 30  # at most; on a busy machine a run may have ended before its signal


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_killed_again_and_again(tmp_path: Path, processes: int) -> None:
    data = plain_catalogue(tmp_path / "d", items=500, size=200)
    start = time.monotonic()
    subprocess.run(
        command("toy", data, tmp_path / "whole.parquet", processes), check=True, timeout=120
    )
    undisturbed = time.monotonic() - start
    out, chance, killed = tmp_path / "toy.parquet", random.Random(5), 0
    for _ in range(TRIES):
        out.unlink(missing_ok=True)  # of a run that ended before its signal: start again
        process = subprocess.Popen(command("toy", data, out, processes))
        time.sleep(undisturbed * chance.uniform(0.2, 0.95))
        process.send_signal(signal.SIGKILL)
        killed += process.wait(timeout=60) == -signal.SIGKILL
        if killed == KILLS:
            break
    assert killed == KILLS
    check_the_end("toy", data, out)


@pytest.mark.slow
def test_killed_while_parts_are_written(tmp_path: Path) -> None:
    """A network that decides on its precision and batch size by itself, in several lanes."""
    data, out = plain_catalogue(tmp_path / "d", items=500, size=200), tmp_path / "toy.parquet"
    subprocess.run(command("clip:mini", data, tmp_path / "whole.parquet"), check=True, timeout=120)
    for parts in (2, 9, 21):
        process = subprocess.Popen(command("clip:mini", data, out))
        until = time.monotonic() + 90
        while len(list(tmp_path.glob("toy.parquet.parts/part-*.parquet"))) < parts:
            assert time.monotonic() < until
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=60) == -signal.SIGKILL
    check_the_end("clip:mini", data, out)


def check_the_end(model: str, data: Path, out: Path) -> None:
    """The same command once more gives the bytes of an undisturbed run, and leaves nothing."""
    subprocess.run(command(model, data, out), check=True, timeout=120)
    assert out.read_bytes() == (out.parent / "whole.parquet").read_bytes()
    assert [p.name for p in out.parent.glob("*toy*")] == ["toy.parquet"]


def command(model: str, data: Path, out: Path, processes: int = 1) -> list[str]:
    options = ["--part-size", "10", "--quiet", "--processes", str(processes)]
    if model == "toy":
        options += ["--batch-size", "5"]
    return [sys.executable, "-m", "mmx", "extract", "--model", model, "--data", str(data),
            "--out", str(out), *options]  # fmt: skip
