"""Ctrl-C and SIGTERM: what was finished is kept, one line says so, nobody is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mmx.sample.catalogue import write_sample
from tests.catalogue import plain_catalogue, write_items
from tests.extract.descendants import MARK, wait_until, wait_until_gone, workers_of
from tests.extract.servers import Misbehaving, serving

pytestmark = pytest.mark.slow

PATIENCE = 60  # s, for what happens soon unless it never does
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
GOES_ON = "finished parts are kept; the same command continues"


@contextmanager
def started(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """``mmx`` in a session of its own, as a shell starts a job; nothing of it is left."""
    mark = uuid.uuid4().hex
    process = subprocess.Popen(
        [sys.executable, "-m", "mmx", *arguments], cwd=folder, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, MARK: mark},
    )  # fmt: skip
    try:
        yield process
        wait_until_gone(mark, PATIENCE)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def stopped(process: subprocess.Popen[str], number: signal.Signals, group: bool = True) -> str:
    """The line it says; a terminal sends Ctrl-C to the whole group."""
    (os.killpg if group else os.kill)(process.pid, number)
    stdout, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == CODES[number], stderr
    assert stdout == ""
    assert "Traceback" not in stderr
    assert "Error" not in stderr
    (line,) = [line for line in stderr.splitlines() if line.startswith("mmx: error: ")]
    return line.removeprefix("mmx: error: ")


def extracting(folder: Path, processes: int) -> list[str]:
    return ["extract", "--model", "toy", "--data", "d", "--out", "out.parquet", "--batch-size", "2",
            "--part-size", "2", "-q", "--processes", str(processes)]  # fmt: skip


def parts(folder: Path) -> list[Path]:
    return list(folder.glob("out.parquet.parts/part-*.parquet"))


@pytest.mark.parametrize(
    ("number", "processes"),
    [(signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGINT, 2), (signal.SIGTERM, 2)],
)
def test_extract(tmp_path: Path, number: signal.Signals, processes: int) -> None:
    plain_catalogue(tmp_path / "d", items=3000, size=120)
    command = extracting(tmp_path, processes)
    with started(tmp_path, *command) as process:
        wait_until(lambda: len(parts(tmp_path)) > 2, PATIENCE)
        assert stopped(process, number) == f"{WORDS[number]}; {GOES_ON}"
    kept = len(parts(tmp_path))
    assert 2 < kept < 1500
    assert not (tmp_path / "out.parquet").exists()


def test_while_workers_are_still_starting(tmp_path: Path) -> None:
    plain_catalogue(tmp_path / "d", items=300)
    with started(tmp_path, *extracting(tmp_path, 2)) as process:
        wait_until(lambda: len(workers_of(process.pid)) == 2, PATIENCE)
        assert stopped(process, signal.SIGINT) == f"interrupted; {GOES_ON}"


@pytest.mark.parametrize("processes", [1, 2])
def test_while_a_host_does_not_answer(tmp_path: Path, processes: int) -> None:
    """And the same command goes on."""
    plain_catalogue(tmp_path, items=20)
    with serving(tmp_path, Misbehaving) as server:
        images = [f"{server.url()}{'/sick' * (n == 15)}/images/{n}.png" for n in range(20)]
        rows = [{"item_id": str(n), "image": image} for n, image in enumerate(images)]
        write_items(tmp_path / "d", rows)
        command = [*extracting(tmp_path, processes), "--allow-private"]
        with started(tmp_path, *command) as process:
            wait_until(lambda: len(parts(tmp_path)) > 2 and server.requests["/sick/images/15.png"])
            stopped(process, signal.SIGINT)
        server.healthy.set()
        done = subprocess.run(
            [sys.executable, "-m", "mmx", *command, "--json"], cwd=tmp_path, check=True, text=True,
            capture_output=True, timeout=PATIENCE,
        )  # fmt: skip
    assert '"reused": 0' not in done.stdout
    assert '"ok": 20' in done.stdout


COMMANDS = {
    "train": (
        "train --model bpr --data d --out run --epochs 100000 --patience 100000 -q",
        lambda folder: list(folder.glob(".run*")) + list(folder.glob("run*")),
        "the same command continues after the epoch saved last (one every 30 s)",
    ),
    "finetune": (
        "finetune --model clip:mini --data d --out run --epochs 1000 --patience 1000 -q",
        lambda folder: list(folder.rglob("checkpoint.pt")),
        "the same command continues after the last finished epoch",
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_training(tmp_path: Path, name: str) -> None:
    line, begun, said = COMMANDS[name]
    write_sample(tmp_path / "d", items=36, users=40, seed=3)
    with started(tmp_path, *line.split()) as process:
        wait_until(lambda: begun(tmp_path), PATIENCE)
        assert stopped(process, signal.SIGINT, group=False) == f"interrupted; {said}"


def test_a_command_that_keeps_nothing_says_no_more(tmp_path: Path) -> None:
    query = (
        "select count(*) from range(100000000000) a, range(100000000000) b where a.range > b.range"
    )
    with started(tmp_path, "sql", query) as process:
        assert process.stderr is not None
        wait_until(lambda: threads(process.pid) > 2, PATIENCE)  # DuckDB is at work
        assert stopped(process, signal.SIGINT) == "interrupted"


def threads(process: int) -> int:
    return len(list(Path(f"/proc/{process}/task").glob("*")))
