"""Two processes end where one does, up to the order of a sum."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mmx.processes import Processes
from mmx.recommend import together
from mmx.recommend.evaluation import evaluate_splits
from mmx.recommend.list_tables import with_lists
from mmx.recommend.run import open_run
from mmx.recommend.together import ranked_together
from mmx.testing import clubs

PROGRAM = """
import atexit, os, sys
import numpy as np
import torch
# The group's threads, if they are still there when the interpreter goes, may abort the process.
atexit.register(lambda: torch.distributed.is_initialized() and os._exit(3))
from mmx.processes import Processes
from mmx.recommend.evaluation import evaluate_scorer, evaluate_splits
from mmx.recommend.together import evaluate_together, same_scorer, validated
from tests.recommend.short_training import log, run, with_one_who_took_all
# one user's pairs are skipped, and the last batch has a row for one of the two processes only
data = with_one_who_took_all(log())
trained = run(data, epochs=3, lr=1e-2, batch_size=106)
# each ranks for its share of the users, and all have the metrics of one
together = validated(trained.scorer, data, Processes("cpu"))
alone = evaluate_scorer(trained.scorer, data.valid, data.known, cutoffs=(20,)).means
assert together.keys() == alone.keys() and alone["recall@20"] > 0
assert all(abs(together[name] - alone[name]) <= 1e-12 for name in alone), (together, alone)
# the first gets the rows of all users, of its own embeddings, in the order of one process
whole = evaluate_splits(trained.scorer, data)
if not Processes("cpu").is_main:
    trained.scorer.items[:] = 1
scorer = same_scorer(trained.scorer, Processes("cpu"))
found = evaluate_together(scorer, data, Processes("cpu"))
if Processes("cpu").is_main:
    for name, expected in whole.items():
        assert found[name].users.tobytes() == expected.users.tobytes()
        for metric, values in expected.metrics.items():
            assert found[name].metrics[metric].tobytes() == values.tobytes(), (name, metric)
else:
    assert found == {}
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
        done = subprocess.run(
            command, env=_environment(), capture_output=True, text=True,
            timeout=180, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        results.append(np.load(out))
    for name in ("users", "items"):
        np.testing.assert_allclose(results[0][name], results[1][name], atol=2e-4)


FAILING = """
import os, sys
from pathlib import Path
from unittest import mock
from mmx.recommend import checkpoint, fit, together
from mmx.recommend.job import TrainJob
from mmx.recommend.options import TrainOptions
who, what = sys.argv[1:3]
checkpoint.EVERY, together.USERS_AT_ONCE = 0.0, 7
if os.environ["RANK"] == who:
    mock.patch(f"mmx.recommend.{what}", side_effect=OSError("planted")).start()
options = TrainOptions(epochs=1, batch_size=1024, keep_lists=5)
fit.fit(TrainJob(Path(sys.argv[3]), "bpr", settings=["dim=8"], training=options), Path("run"))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("who", "what"),
    [
        ("0", "fit.evaluate_together"),
        ("1", "together._together"),
        ("0", "fit._write"),
        ("1", "together.rank"),
        ("0", "list_tables.table_of"),
        ("0", "fit.open_run"),
    ],
)
def test_where_one_fails_the_others_end_without_a_launcher(
    who: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In evaluation, in the lists and after; what was trained is kept until the run is there."""
    data = tmp_path / "data"
    data.mkdir()
    clubs.write_place(data)
    (tmp_path / "program.py").write_text(FAILING)
    command = [sys.executable, "program.py", who, what, str(data)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    both = [
        subprocess.Popen(
            command, cwd=tmp_path, stderr=subprocess.PIPE, text=True,
            env={**_environment(), **group, "RANK": rank, "LOCAL_RANK": rank},
        )
        for rank in ("0", "1")
    ]  # fmt: skip
    try:
        said = [one.communicate(timeout=120)[1] for one in both]
    finally:
        for one in both:
            one.kill()
    assert "planted" in said[int(who)]
    done = what == "fit.open_run"  # all is written before, and the others have nothing left to do
    assert [one.returncode == 0 for one in both] == [False, done]
    assert (tmp_path / "run").exists() == done
    assert any(".checkpoint" in path.name for path in tmp_path.iterdir()) != done
    if done:
        run = open_run(tmp_path / "run")
        for name, alone in evaluate_splits(run.scorer, run.data).items():
            assert run.metrics[name] == alone.means
        monkeypatch.setattr(together, "USERS_AT_ONCE", 7)
        lists = ranked_together(run.scorer, run.data, 5, Processes("cpu"))
        with_lists(lambda folder: None, lists, run.data, 5)(tmp_path)
        mine, shared = (path / "lists.parquet" for path in (tmp_path, tmp_path / "run"))
        assert mine.read_bytes() == shared.read_bytes()
        assert pq.ParquetFile(shared).num_row_groups > 2  # so both had their turns


def _environment() -> dict[str, str]:
    root = str(Path(__file__).parents[1])
    return {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
