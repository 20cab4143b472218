"""Decoding processes: the bytes of threads, when they begin, and none left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mmx.data.dataset import load_items
from mmx.errors import OptionError
from mmx.extract.encoder import Plain
from mmx.extract.encoders import open_encoder
from mmx.extract.options import ExtractOptions
from mmx.extract.pipeline import extract
from mmx.extract.stages import decoders, takeover
from mmx.extract.stages.progress import Progress
from mmx.extract.stages.run import cores
from mmx.extract.stages.takeover import Seen, too_slow
from mmx.extract.workers.job import Recipe
from mmx.extract.workers.processes import Workers
from tests.catalogue import plain_catalogue
from tests.extract.beside import decoders_of, odd_catalogue, run
from tests.extract.commands import command
from tests.extract.descendants import wait_until, wait_until_gone, workers_of

pytestmark = pytest.mark.usefixtures("none_left")


@pytest.mark.parametrize("processes", [1, 3])
def test_the_bytes_are_those_of_threads(tmp_path: Path, processes: int, marked: str) -> None:
    data, seen = odd_catalogue(tmp_path / "d"), []
    run(data, tmp_path / "threads.parquet", 0)
    report = run(
        data, tmp_path / "processes.parquet", processes,
        lambda state: seen.append((len(decoders_of(marked)), dict(state.threads))),
    )  # fmt: skip
    assert [len(found) for found in (report.failures, report.examples)] == [4, 4]
    assert report.rates["decoding"] > 0
    assert max(count for count, _ in seen) == min(processes, cores()) + 1
    assert seen[-1][1]["decoding"] == min(processes, cores())
    found = (tmp_path / "processes.parquet").read_bytes()
    assert found == (tmp_path / "threads.parquet").read_bytes()
    statuses = pq.read_table(tmp_path / "processes.parquet")["image_status"].to_pylist()
    assert len(set(statuses)) == 6


def test_tar_shards_are_read_by_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, names, tasks = odd_catalogue(tmp_path / "d"), [], []
    with tarfile.open(tmp_path / "0.tar", "w") as shard:
        for name in sorted(data.glob("images/*.png")):
            shard.add(name, name.name)
            names.append(name.stem)
    made = decoders._task
    monkeypatch.setattr(decoders, "_task", lambda chunk: tasks.append(made(chunk)) or tasks[-1])
    for store, processes in (("threads", 0), ("processes", 2)):
        report = run(tmp_path / "0.tar", tmp_path / f"{store}.parquet", processes)
        assert sum(report.failures.values()) == 3
    assert len(names) == sum(len(inputs) for _, _, inputs, _ in tasks)
    assert {pictures for _, _, _, pictures in tasks} == {None}
    stores = [(tmp_path / f"{name}.parquet").read_bytes() for name in ("threads", "processes")]
    assert stores[0] == stores[1]


@pytest.mark.slow
def test_pictures_that_torch_resizes(tmp_path: Path) -> None:
    data = plain_catalogue(tmp_path / "d", 20, size=300)
    for name, processes in (("threads", 0), ("processes", 2)):
        model = {"decode": "fast", "modalities": ("image",)}
        options = ExtractOptions(batch_size=5, decode_processes=processes)
        encoder = open_encoder("clip:mini", **model)
        extract(load_items(data), encoder, tmp_path / f"{name}.parquet", options)
    stores = [(tmp_path / f"{name}.parquet").read_bytes() for name in ("threads", "processes")]
    assert stores[0] == stores[1]


def test_processes_take_over_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, threads = plain_catalogue(tmp_path / "d", 600), []
    run(data, tmp_path / "threads.parquet", 0)
    monkeypatch.setattr(takeover, "too_slow", lambda *_: True)
    monkeypatch.setattr(takeover, "SPAN", 0.01)

    def slowly(state: Progress) -> None:
        if state.stage == "encode" and state.threads["reading"] != 1:  # of threads: 4
            time.sleep(0.05)
        threads.append(state.threads["reading"])

    report = run(data, tmp_path / "x.parquet", None, slowly, also={"decode_threads": 1})
    assert report.encoded == 600
    assert set(threads) == {4, 1}  # first the threads, then a process
    assert (tmp_path / "x.parquet").read_bytes() == (tmp_path / "threads.parquet").read_bytes()


@pytest.mark.parametrize(("items", "many"), [(300, 100), (100, 300)])
def test_beside_a_gpu_they_are_not_waited_for(
    items: int, many: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, marked: str
) -> None:
    """A GPU's passes are slow beside decoding threads, so pictures need not be what is missing."""
    data, most = plain_catalogue(tmp_path / "d", items), [0]
    monkeypatch.setattr(takeover, "too_slow", lambda *_: False)
    monkeypatch.setattr(takeover, "MANY", many)
    monkeypatch.setattr(Plain, "device", "cuda:1")

    def slowly(state: Progress) -> None:
        if not most[0]:
            time.sleep(0.02)
        most[0] = max(most[0], len(decoders_of(marked)))

    run(data, tmp_path / "x.parquet", None, slowly, also={"decode_threads": 1})
    assert (most[0] > 0) == (items > many)
    table = pq.read_table(data / "items.parquet").drop_columns("image")
    pq.write_table(table, data / "items.parquet")
    most[0] = 0
    run(data, tmp_path / "texts.parquet", None, slowly, also={"decode_threads": 1})
    assert most[0] == 0  # nothing to decode


@pytest.mark.slow
def test_a_job_without_standard_files_has_decoders(tmp_path: Path) -> None:
    """What it opens would get their numbers, which a child process has for its own."""
    data = plain_catalogue(tmp_path / "d", 40)
    out = tmp_path / "x.parquet"
    words = [sys.executable, "-m", "mmx", "extract", "--model", "toy", "--data", str(data),
             "--out", str(out), "--decode-processes", "2"]  # fmt: skip
    done = subprocess.run(["sh", "-c", 'exec "$@" <&- >&-', "sh", *words], stderr=subprocess.PIPE,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Exception ignored" not in done.stderr
    run(data, tmp_path / "threads.parquet", 0, also={"batch_size": None, "part_size": None})
    assert out.read_bytes() == (tmp_path / "threads.parquet").read_bytes()


def test_a_killed_job_leaves_no_process(tmp_path: Path, marked: str) -> None:
    data = plain_catalogue(tmp_path / "d", 2000)
    shared = set(os.listdir("/dev/shm"))
    for end in (signal.SIGKILL, signal.SIGINT):
        words = [*command(data, tmp_path / "x.parquet", "1"), "--decode-processes", "2"]
        job = subprocess.Popen(words, stderr=subprocess.DEVNULL)
        parts = len(list(tmp_path.glob("x.parquet.parts/part-*")))
        wait_until(lambda: len(list(tmp_path.glob("x.parquet.parts/part-*"))) > parts + 3)  # noqa: B023
        assert len(decoders_of(marked)) == min(2, cores()) + 1
        for process in decoders_of(marked) if end == signal.SIGINT else ():
            os.kill(process, signal.SIGINT)  # as a terminal does
        job.send_signal(end)
        assert job.wait(timeout=60) != 0
        wait_until_gone(marked)
    assert set(os.listdir("/dev/shm")) == shared


def test_workers_have_decoders_of_their_own(tmp_path: Path, marked: str) -> None:
    data, most = plain_catalogue(tmp_path / "d", 100), [0]
    run(data, tmp_path / "threads.parquet", 0)

    def count(state: Progress) -> None:
        most[0] = max(most[0], len(decoders_of(marked)))

    engine = Workers(Recipe("toy"), ("cpu", "cpu"))
    run(data, tmp_path / "x.parquet", 1, count, engine=engine)
    assert most[0] >= 3
    assert (tmp_path / "x.parquet").read_bytes() == (tmp_path / "threads.parquet").read_bytes()
    assert workers_of(os.getpid()) == []


def test_a_small_job_starts_none(tmp_path: Path, marked: str) -> None:
    data, most = plain_catalogue(tmp_path / "d", 100), []
    run(data, tmp_path / "x.parquet", None, lambda state: most.append(len(decoders_of(marked))))
    assert set(most) == {0}


def test_when_processes_are_worth_their_start() -> None:
    before = Seen(time=10.0, cpu=4.0, waited=1.0, done=1000)
    now = Seen(time=12.0, cpu=6.4, waited=2.9, done=5000)  # 2000 items a second
    many = 10**6
    assert too_slow(before, now, left=33_000, cores=2, start=2.0)
    assert not too_slow(before, now, left=31_000, cores=2, start=2.0)  # done in 8 starts
    assert too_slow(before, now, left=31_000, cores=2, start=0.5)
    fed = Seen(time=12.0, cpu=6.4, waited=1.9, done=5000)
    assert not too_slow(before, fed, many, cores=2, start=2.0)  # the encoder seldom waited
    busy = Seen(time=12.0, cpu=7.8, waited=2.9, done=5000)
    assert not too_slow(before, busy, many, cores=2, start=2.0)  # there is no core for a process
    assert too_slow(before, busy, many, cores=16, start=2.0)
    slow_disk = Seen(time=12.0, cpu=4.5, waited=2.9, done=1100)
    assert not too_slow(before, slow_disk, many, cores=16, start=2.0)


def test_what_processes_cannot_do_is_refused(tmp_path: Path) -> None:
    data, options = plain_catalogue(tmp_path / "d", 5), ExtractOptions(decode_processes=2)
    encoder = open_encoder("toy", modalities=("text",))
    with pytest.raises(OptionError, match="--decode-processes 2: the encoder takes no pictures"):
        extract(load_items(data), encoder, tmp_path / "x.parquet", options)
    with pytest.raises(OptionError, match="--decode-processes -1: 0 to 1024"):
        run(data, tmp_path / "x.parquet", -1)
