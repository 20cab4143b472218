"""Decoding processes: the bytes of threads, whatever dies or stops, and none left over."""

from __future__ import annotations

import base64
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmx.data.dataset import load_items
from mmx.errors import EncoderError, OptionError
from mmx.extract.encoders import open_encoder
from mmx.extract.options import ExtractOptions
from mmx.extract.pipeline import extract
from mmx.extract.sources.source import Source
from mmx.extract.stages import decoders, nursery, slots, takeover
from mmx.extract.stages.progress import Progress
from mmx.extract.stages.run import cores
from mmx.extract.stages.slots import Slots, mapped
from mmx.extract.stages.takeover import Seen, too_slow
from mmx.extract.workers.job import Recipe
from mmx.extract.workers.processes import Workers
from tests.catalogue import plain_catalogue, write_items
from tests.extract.commands import command
from tests.extract.descendants import (
    alive,
    command_of,
    limited,
    wait_until,
    wait_until_gone,
    workers_of,
)
from tests.extract.odd_sources import Broken, Deadly, Stopping


@pytest.fixture(autouse=True)
def time_limit(marked: str):
    limited(120)
    yield
    limited(0)
    wait_until_gone(marked)


def run(data: Path, out: Path, processes: int | None, progress=lambda state: None, **given):
    options = ExtractOptions(
        **{"batch_size": 5, "part_size": 20, "decode_processes": processes, **given.pop("also", {})}
    )
    encoder = open_encoder(given.pop("model", "toy"))
    return extract(load_items(data), encoder, out, options, progress, **given)


def decoders_of(mark: str) -> list[int]:
    """The nursery and the decoders of a test."""
    return [p for p in alive(mark) if "stages.forked" in command_of(p)]


def odd_catalogue(folder: Path) -> Path:
    """Pictures of all fates: files, data URIs, broken, missing; texts that are changed or not."""
    plain_catalogue(folder, 60)
    picture = (folder / "images/3.png").read_bytes()
    (folder / "images/7.png").write_bytes(picture[:60])
    (folder / "images/8.png").write_bytes(b"")
    (folder / "images/9.png").write_text("no picture")
    rows = load_items(folder).table.select(["item_id", "image", "text"]).to_pylist()
    rows[11]["image"] = "data:image/png;base64," + base64.b64encode(picture).decode()
    rows[12]["image"], rows[13]["image"], rows[14]["image"] = None, "images/gone.png", " "
    rows[15]["text"], rows[16]["text"], rows[17]["text"] = None, " \t", "two\x00words "
    return write_items(folder, rows)


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


def test_a_killed_decoder_is_replaced(tmp_path: Path, marked: str) -> None:
    data, killed = plain_catalogue(tmp_path / "d", 400), []
    run(data, tmp_path / "threads.parquet", 0)

    def kill(state: Progress) -> None:
        if state.stage == "encode" and state.done > 50 * (len(killed) + 1) and len(killed) < 4:
            killed.append(sorted(decoders_of(marked))[0 if len(killed) == 1 else -1])
            os.kill(killed[-1], signal.SIGKILL)  # once it is the nursery

    assert run(data, tmp_path / "x.parquet", 2, kill).encoded == 400
    assert len(set(killed)) == 4
    assert (tmp_path / "x.parquet").read_bytes() == (tmp_path / "threads.parquet").read_bytes()


def test_a_picture_that_kills_one_decoder_is_decoded_by_the_next(tmp_path: Path) -> None:
    data = plain_catalogue(tmp_path / "d", 30)
    run(data, tmp_path / "threads.parquet", 0)
    run(data, tmp_path / "x.parquet", 2, source=Deadly(data, "17.png", often=1))
    assert (tmp_path / "x.parquet").read_bytes() == (tmp_path / "threads.parquet").read_bytes()


def test_a_picture_that_kills_two_decoders_ends_the_job(tmp_path: Path) -> None:
    data = plain_catalogue(tmp_path / "d", 30)
    said = r"2 decoding processes died over images/17\.png; leave it out of --data"
    with pytest.raises(EncoderError, match=said):
        run(data, tmp_path / "x.parquet", 2, source=Deadly(data, "17.png"))


def test_a_decoder_that_makes_no_progress_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoders, "SILENCE", 2.0)
    data = plain_catalogue(tmp_path / "d", 30)
    run(data, tmp_path / "threads.parquet", 0)
    report = run(data, tmp_path / "x.parquet", 2, source=Stopping(data, "17.png", often=1))
    said = set(report.note.split("; "))  # on a busy machine a start may take so long, too
    assert said == {"a decoding process made no progress for 2 s and was replaced"}
    assert (tmp_path / "x.parquet").read_bytes() == (tmp_path / "threads.parquet").read_bytes()


@pytest.mark.slow
def test_a_picture_over_which_two_decoders_stop_ends_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoders, "SILENCE", 2.0)
    data = plain_catalogue(tmp_path / "d", 30)
    with pytest.raises(EncoderError, match=r"made no progress for 2 s over images/17\.png"):
        run(data, tmp_path / "x.parquet", 2, source=Stopping(data, "17.png"))


def test_the_error_of_a_decoder_is_the_error_of_the_job(tmp_path: Path) -> None:
    data = plain_catalogue(tmp_path / "d", 30)
    with pytest.raises(RuntimeError, match=r"the disk of 17\.png is gone"):
        run(data, tmp_path / "x.parquet", 2, source=Broken(data, "17.png"))


def test_decoders_that_cannot_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = plain_catalogue(tmp_path / "d", 200)
    monkeypatch.setattr(nursery, "PROGRAM", "raise SystemExit(3)")
    with pytest.raises(EncoderError, match=r"3 decoding processes died before .*--decode-proc"):
        run(data, tmp_path / "x.parquet", 2)
    monkeypatch.setattr(takeover, "too_slow", lambda *_: True)
    monkeypatch.setattr(takeover, "SPAN", 0.0)

    def slowly(state: Progress) -> None:
        if state.stage == "encode" and not state.note:
            time.sleep(0.1)

    report = run(data, tmp_path / "x.parquet", None, slowly)
    assert report.note.startswith("pictures were decoded by threads: 3 decoding processes died")
    assert report.encoded == 200


def test_memory_that_the_system_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number of processes is an error; automatically the threads go on."""

    def refused(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    data = plain_catalogue(tmp_path / "d", 200)
    monkeypatch.setattr(slots, "mapped", refused)
    with pytest.raises(EncoderError, match=r"no memory .*Too many open files.*--decode-proc"):
        run(data, tmp_path / "x.parquet", 2)
    monkeypatch.setattr(takeover, "too_slow", lambda *_: True)
    monkeypatch.setattr(takeover, "SPAN", 0.0)
    report = run(data, tmp_path / "x.parquet", None)
    assert report.note.startswith("pictures were decoded by threads: no memory can be shared")
    assert report.encoded == 200
    assert workers_of(os.getpid()) == []


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


def test_memory_is_bounded_and_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, made, add = plain_catalogue(tmp_path / "d", 300), [], Slots._add
    monkeypatch.setattr(Slots, "_add", lambda slots: (made.append(1), add(slots)))
    assert run(data, tmp_path / "x.parquet", 1).encoded == 300
    assert 0 < len(made) <= decoders.LOOK_AHEAD + decoders.AHEAD + 4  # those, and the lane's


def test_slots_are_shared_and_locked_while_they_are_used() -> None:
    locked: list[int] = []

    @contextmanager
    def lock(pixels: np.ndarray) -> Iterator[None]:
        locked.append(pixels.ctypes.data)
        yield
        locked.remove(pixels.ctypes.data)

    with Slots((2, 9, 9, 3), lock) as slots:
        (first, one), (second, two) = slots.take(), slots.take()
        assert len(set(locked)) == 2
        one[:], two[:] = 1, 2
        other = mapped(slots.file, second, slots.shape)
        assert (other == 2).all()
        other[:] = 3
        assert (two == 3).all()
        assert (one == 1).all()
        slots.give_back(first)
        assert slots.take()[1] is one
    assert locked == []


class Driver:
    """As much of a CUDA driver as locks memory; it refuses where ``answer`` is not 0."""

    def __init__(self, answer: int) -> None:
        self.answer, self.locked = answer, []

    def cudaHostRegister(self, address: int, size: int, flags: int) -> int:  # noqa: N802
        self.locked += [(address, size)] if self.answer == 0 else []
        return self.answer

    def cudaHostUnregister(self, address: int) -> int:  # noqa: N802
        self.locked = [pair for pair in self.locked if pair[0] != address]
        return 0


@pytest.mark.parametrize("answer", [0, 1])
def test_a_driver_may_lock_memory_or_refuse(monkeypatch: pytest.MonkeyPatch, answer: int) -> None:
    import torch

    from mmx.extract.encoders.hardware import Hardware

    pixels, driver = np.zeros(4096, np.uint8), Driver(answer)
    monkeypatch.setattr(torch.cuda, "cudart", lambda: driver)
    with Hardware.of("cpu", "float32").page_locked(pixels):
        assert driver.locked == []
    with Hardware(torch.device("cuda"), torch.float32).page_locked(pixels):
        assert driver.locked == ([(pixels.ctypes.data, 4096)] if answer == 0 else [])
    assert driver.locked == []

    def none() -> None:
        raise RuntimeError("no driver")

    monkeypatch.setattr(torch.cuda, "cudart", none)
    with Hardware(torch.device("cuda"), torch.float32).page_locked(pixels):
        pixels[:] = 1


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


class Anything(Source):
    """A source of the user's own, which is read in this process alone."""

    def __call__(self, image: str, /) -> bytes:
        return b""


def test_what_processes_cannot_do_is_refused(tmp_path: Path) -> None:
    data = plain_catalogue(tmp_path / "d", 5)
    with pytest.raises(OptionError, match=r"--decode-processes 2: pictures from .*; drop it"):
        run(data, tmp_path / "x.parquet", 2, source=Anything())
    rows = load_items(data).table.select(["item_id", "image", "text"]).to_pylist()
    rows[0]["image"] = "https://h.example/1.jpg"
    with pytest.raises(OptionError, match="--decode-processes 2: pictures from a network"):
        run(write_items(data, rows), tmp_path / "x.parquet", 2)
    pictures = pa.array([b"x"], pa.binary())
    pq.write_table(pa.table({"item_id": ["a"], "image": pictures}), tmp_path / "rows.parquet")
    with pytest.raises(OptionError, match="a table's rows"):
        run(tmp_path / "rows.parquet", tmp_path / "y.parquet", 2)
    with pytest.raises(OptionError, match="--decode-processes -1: 0 to 1024"):
        run(data, tmp_path / "x.parquet", -1)
