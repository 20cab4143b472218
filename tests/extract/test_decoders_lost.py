"""Decoding processes that die, stop or never start: another does their work, or the job says so."""

from __future__ import annotations

import errno
import os
import socket
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from mmx.errors import EncoderError
from mmx.extract.stages import decoders, nursery, pool, slots, takeover
from mmx.extract.stages.progress import Progress
from tests.catalogue import plain_catalogue
from tests.extract.beside import killing, run
from tests.extract.descendants import workers_of
from tests.extract.odd_sources import Broken, Deadly, Stopping

pytestmark = pytest.mark.usefixtures("none_left")


def test_a_killed_decoder_is_replaced(tmp_path: Path, marked: str) -> None:
    data, killed = plain_catalogue(tmp_path / "d", 400), []
    run(data, tmp_path / "threads.parquet", 0)
    assert run(data, tmp_path / "x.parquet", 2, killing(marked, killed)).encoded == 400
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
    assert report.note == "a decoding process made no progress for 2 s and was replaced"
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


@pytest.mark.parametrize("which", ["eventfd", "selector"])
def test_files_that_the_system_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    data = plain_catalogue(tmp_path / "d", 5)
    if which == "eventfd":
        monkeypatch.setattr(os, "eventfd", refused)
    else:
        monkeypatch.setattr(pool.selectors, "DefaultSelector", refused)
    with pytest.raises(EncoderError, match=r"cannot be started \(Too many open files\); --decode-"):
        run(data, tmp_path / "x.parquet", 2)


def test_the_number_of_a_process_that_has_ended_is_forgotten() -> None:
    """It may be another process's soon."""
    ours, theirs = socket.socketpair()
    theirs.close()
    fork: pool.Fork[int] = pool.Fork(Connection(ours.detach()), id=os.getpid())
    forks: pool.ForkPool[int] = pool.ForkPool("no work", 0, 1.0)
    assert forks.give(fork, 1, "a task") == "died"
    assert fork.id is None
    fork.connection.close()
    forks.end()
