"""Jobs of `mmx finetune` with processes that augment: killed, and several of torchrun."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mmx.data.dataset import Items
from tests.extract.augmentations import forks_of, small_items
from tests.extract.descendants import limited, wait_until, wait_until_gone


@pytest.fixture
def items(tmp_path: Path) -> Items:
    return small_items(tmp_path / "sample")


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_job_leaves_no_process(
    items: Items, tmp_path: Path, marked: str, end: signal.Signals
) -> None:
    shared = set(os.listdir("/dev/shm"))
    words = [sys.executable, "-m", "mmx", "finetune", "--model", "clip:mini", "--data",
             str(items.directory), "--out", str(tmp_path / "run"), "--epochs", "1000",
             "--patience", "1000", "--batch-size", "16", "--decode-processes", "1"]  # fmt: skip
    job = subprocess.Popen(words, stderr=subprocess.DEVNULL, cwd=tmp_path)
    limited(300)
    kept = ".run*/checkpoint.pt"
    wait_until(lambda: len(forks_of(marked)) == 2 and list(tmp_path.glob(kept)), 200)
    for process in forks_of(marked) if end == signal.SIGINT else ():
        os.kill(process, signal.SIGINT)  # as a terminal does
    job.send_signal(end)
    assert job.wait(timeout=60) != 0
    wait_until_gone(marked)
    assert set(os.listdir("/dev/shm")) == shared


PROGRAM = """
import sys
from pathlib import Path
import torch
from mmx.data.dataset import load_items
from mmx.extract.encoders import open_encoder
from mmx.extract.finetune import FinetuneOptions, ahead, tune_encoder
from mmx.extract.finetune.ahead import Ahead
from tests.extract.tiny_checkpoint import VOCABULARY, weights
from tests.extract.tiny_objective import QUICK
from tests.extract.tiny_vlmo import HEADS, RELPOS
items, out, count = load_items(Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3])
start = Ahead._start
def started(self, batch):
    found = start(self, batch)
    while not self._forks.ready:
        self._listen(0.1)
    return found
Ahead._start = started
ahead.Share.make = None  # nothing is augmented here where there are processes
tune_encoder(items, open_encoder("clip:mini"), out, FinetuneOptions(**QUICK),
             pixels=items.directory / "pixels", decode_processes=count)
"""


@pytest.mark.slow
def test_processes_of_torchrun_have_their_own(items: Items, tmp_path: Path, marked: str) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--rdzv-backend=c10d"]
    launcher += ["--rdzv-endpoint=127.0.0.1:0", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    limited(600)
    for count in ("0", "1"):
        words = [str(tmp_path / "program.py"), str(items.directory), str(tmp_path / count), count]
        done = subprocess.run([*launcher, *words], env=environment, capture_output=True, text=True,
                              timeout=290, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr
    files = [tmp_path / count / "model.safetensors" for count in ("0", "1")]
    assert files[0].read_bytes() == files[1].read_bytes()
