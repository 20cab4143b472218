"""Two processes end where one does, up to the order of a sum."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PROGRAM = """
import atexit, os, sys
import numpy as np
import torch
# The group's threads, if they are still there when the interpreter goes, may abort the process.
atexit.register(lambda: torch.distributed.is_initialized() and os._exit(3))
from mmx.processes import Processes
from mmx.recommend.evaluation import evaluate_scorer
from mmx.recommend.training import _validated
from tests.recommend.short_training import log, run, with_one_who_took_all
# one user's pairs are skipped, and the last batch has a row for one of the two processes only
data = with_one_who_took_all(log())
trained = run(data, epochs=3, lr=1e-2, batch_size=106)
# each ranks for its share of the users, and all have the metrics of one
together = _validated(trained.scorer, data, Processes("cpu"))
alone = evaluate_scorer(trained.scorer, data.valid, data.known, cutoffs=(20,)).means
assert together.keys() == alone.keys() and alone["recall@20"] > 0
assert all(abs(together[name] - alone[name]) <= 1e-12 for name in alone), (together, alone)
if Processes("cpu").is_main:
    np.savez(sys.argv[1], users=trained.scorer.users, items=trained.scorer.items)
"""


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node"]
    results = []
    for count in ("1", "2"):
        out = tmp_path / f"{count}.npz"
        rendezvous = ["--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0"]
        command = [*launcher, count, *rendezvous, str(script), str(out)]
        root = str(Path(__file__).parents[1])
        done = subprocess.run(
            command, env={**_environment(), "PYTHONPATH": root}, capture_output=True, text=True,
            timeout=180, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        results.append(np.load(out))
    for name in ("users", "items"):
        np.testing.assert_allclose(results[0][name], results[1][name], atol=2e-4)


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
