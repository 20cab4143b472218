"""Kill -9 in the middle of a grid: the same command continues and ends in the same figures."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from mmx.experiments.costs import MEASURED
from tests.experiments.tiny import tiny_content

LIMIT = 120  # s, of each process


@pytest.mark.slow
def test_killed_and_continued(tmp_path: Path) -> None:
    plan = tmp_path / "tiny.yaml"
    plan.write_text(yaml.safe_dump(tiny_content(training={"epochs": 15})))
    subprocess.run(command(plan, tmp_path / "whole"), check=True, timeout=LIMIT)
    out, runs = tmp_path / "out", tmp_path / "out" / "runs"
    killed = 0
    for wanted in (1, 3):  # runs that must be finished before the next kill
        process = subprocess.Popen(command(plan, out))
        end = time.monotonic() + LIMIT
        while len(finished(runs)) < wanted and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        killed += process.wait(timeout=LIMIT) == -signal.SIGKILL
        before = {path: path.stat().st_mtime_ns for path in finished(runs)}
    assert killed == 2
    assert 3 <= len(before) < 9
    subprocess.run(command(plan, out), check=True, timeout=LIMIT)
    assert len(finished(runs)) == 9
    assert {path: path.stat().st_mtime_ns for path in before} == before  # none was run again
    one, other = (pq.read_table(path / "results.parquet") for path in (tmp_path / "whole", out))
    clocked = ["seconds", *(name for name in MEASURED if name != "parameters")]
    assert one.drop_columns(clocked) == other.drop_columns(clocked)
    left = [path for path in runs.glob(".*") if path.suffix != ".lock"]  # of the killed, empty
    assert not left  # checkpoints are gone


def finished(runs: Path) -> list[Path]:
    return sorted(runs.glob("tiny-*"))


def command(plan: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "mmx", "reproduce", str(plan), "--out", str(out), "--quiet"]
