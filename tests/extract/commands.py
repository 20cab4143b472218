"""``mmx extract`` as a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path


def command(data: Path, out: Path, processes: str) -> list[str]:
    options = ["--part-size", "10", "--batch-size", "5", "--quiet", "--processes", processes]
    return [sys.executable, "-m", "mmx", "extract", "--model", "toy", "--data", str(data),
            "--out", str(out), *options]  # fmt: skip
