"""The line that starts a job says which device; without a job there is no line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mmx.extract.encoders import open_encoder
from mmx.extract.workers.job import Here, Recipe
from mmx.extract.workers.processes import Workers
from tests.catalogue import plain_catalogue

TWICE = """
import sys
import mmx
said = []
for time in range(2):
    mmx.encode("d", "toy", "x.parquet", log=said.append)
print(said, "torch" in sys.modules)
"""


def test_a_job_says_where_and_imports_no_torch_for_it(tmp_path: Path) -> None:
    plain_catalogue(tmp_path / "d", 3)
    done = subprocess.run(
        [sys.executable, "-c", TWICE], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['toy on cpu, float32'] False"


def test_engines_name_their_devices() -> None:
    assert Here(open_encoder("toy")).where() == "cpu"
    assert Workers(Recipe("toy"), ("cpu", "cpu")).where() == "cpu in 2 processes"
    devices = ("cuda:0", "cuda:1", "cuda:0")
    assert Workers(Recipe("toy"), devices).where() == "cuda:0, cuda:1 in 3 processes"
