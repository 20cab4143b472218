"""Kill -9 at random moments: the same command goes on and ends in the same bytes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.catalogue import plain_catalogue

KILLS = 10


@pytest.mark.slow
def test_killed_ten_times(tmp_path: Path) -> None:
    data = plain_catalogue(tmp_path / "d", items=500, size=200)
    start = time.monotonic()
    subprocess.run(command(data, tmp_path / "whole.parquet"), check=True, timeout=120)
    undisturbed = time.monotonic() - start
    out, chance, killed = tmp_path / "toy.parquet", random.Random(5), 0
    for _ in range(KILLS):
        process = subprocess.Popen(command(data, out))
        time.sleep(undisturbed * chance.uniform(0.2, 0.95))
        process.send_signal(signal.SIGKILL)
        killed += process.wait(timeout=60) == -signal.SIGKILL
    assert killed >= KILLS // 2  # a run that has nothing left to do may end before the signal
    subprocess.run(command(data, out), check=True, timeout=120)
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert [p.name for p in tmp_path.glob("toy*")] == ["toy.parquet"]


def command(data: Path, out: Path) -> list[str]:
    options = ["--part-size", "10", "--batch-size", "5", "--quiet"]
    return [sys.executable, "-m", "mmx", "extract", "--model", "toy", "--data", str(data),
            "--out", str(out), *options]  # fmt: skip
