"""CPU seconds that commands take to start: median of three, user and system time together.

    mmx demo --out demo
    python benchmarks/startup.py demo

The last two lines extract: one finds that there is nothing to do, the other encodes 16 items.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

ROUNDS = 3


def main() -> None:
    """Print a line for each command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demo", type=Path, help="what `mmx demo` has written")
    demo = parser.parse_args().demo.resolve()
    with tempfile.TemporaryDirectory() as folder:
        few, store = Path(folder) / "few", Path(folder) / "mini.parquet"
        few.mkdir()
        (few / "images").symlink_to(demo / "sample/images")
        items = pq.read_table(demo / "sample/items.parquet")
        pq.write_table(items.slice(0, 16), few / "items.parquet")
        run, user = str(demo / "runs/vbpr"), "user-012"
        everything = ["extract", "--model", "clip:mini", "--data", str(demo / "sample")]
        seconds([*everything, "--out", str(store)])
        for name, command in {
            "--help": ["--help"],
            "models": ["models"],
            "encoders": ["encoders"],
            "sql": ["sql", "select 1"],
            "info RUN": ["info", run],
            "recommend RUN --user U": ["recommend", run, "--user", user],
            "evaluate RUN": ["evaluate", run],
            "extract, nothing to do": [*everything, "--out", str(store)],
            "extract, 16 items": [*everything[:-1], str(few), "--overwrite", "--out",
                                  str(Path(folder) / "few.parquet")],
        }.items():  # fmt: skip
            taken = [seconds(command) for _ in range(ROUNDS)]
            cpu, wall = (statistics.median(column) for column in zip(*taken, strict=True))
            print(f"{name:28}{cpu:8.2f} CPU s{wall:8.2f} s")


def seconds(command: list[str]) -> tuple[float, float]:
    """(CPU seconds, seconds on the clock) of a run of mmx."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "mmx", *command],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"mmx {' '.join(command)}: exit code {process.returncode}")
    return used.ru_utime + used.ru_stime, time.perf_counter() - start


if __name__ == "__main__":
    main()
