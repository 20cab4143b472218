"""Several processes, one store: the same bytes whichever is killed, and none left over."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mmx.data.dataset import load_items
from mmx.errors import EncoderError, OptionError
from mmx.extract.encoders import open_encoder
from mmx.extract.encoders.toy import Toy
from mmx.extract.options import ExtractOptions
from mmx.extract.pipeline import extract
from mmx.extract.planning import Block
from mmx.extract.sources.paths import Paths
from mmx.extract.sources.web import Web
from mmx.extract.stages.progress import Progress
from mmx.extract.workers import pending as pending_blocks
from mmx.extract.workers.job import JobSpec, Recipe
from mmx.extract.workers.messages import packed, unpacked
from mmx.extract.workers.pending import PendingBlocks
from mmx.extract.workers.processes import Workers, spread
from tests.catalogue import plain_catalogue
from tests.extract.commands import command
from tests.extract.descendants import (
    alive,
    limited,
    wait_until,
    wait_until_gone,
    workers_of,
)

OPTIONS = ExtractOptions(batch_size=5, part_size=10, decode_threads=1)


def run(data: Path, out: Path, recipe: Recipe, count: int, progress=lambda state: None):
    engine = Workers(recipe, ("cpu",) * count) if count > 1 else None
    return extract(load_items(data), recipe.open("cpu"), out, OPTIONS, progress, engine=engine)


@pytest.fixture(autouse=True)
def time_limit():
    limited(300)
    yield
    limited(0)


@pytest.mark.parametrize("model", ["toy", pytest.param("clip:mini", marks=pytest.mark.slow)])
def test_two_processes_equal_one(tmp_path: Path, model: str, marked: str) -> None:
    data, recipe, states = plain_catalogue(tmp_path / "d", 95), Recipe(model), []
    run(data, tmp_path / "one.parquet", recipe, 1)
    report = run(
        data, tmp_path / "two.parquet", recipe, 2,
        lambda state: states.append((state.stage, state.done, state.total)),
    )  # fmt: skip
    assert (tmp_path / "two.parquet").read_bytes() == (tmp_path / "one.parquet").read_bytes()
    assert ("encode", 95, 95) in states
    assert report.encoded == 95
    assert report.rates["encoding"] > 0
    assert report.rates["writing"] > 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d", "one.parquet", "two.parquet"]
    wait_until_gone(marked)


def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    data, recipe, killed = plain_catalogue(tmp_path / "d", 300), Recipe("toy"), []
    run(data, tmp_path / "one.parquet", recipe, 1)

    def kill(state: Progress) -> None:
        if state.stage == "encode" and len(killed) < 2 and state.done > 100 * len(killed):
            for process in workers_of(os.getpid())[:1]:
                os.kill(process, signal.SIGKILL)
                killed.append(process)

    report = run(data, tmp_path / "two.parquet", recipe, 2, kill)
    assert len(set(killed)) == 2
    assert report.encoded == 300
    assert (tmp_path / "two.parquet").read_bytes() == (tmp_path / "one.parquet").read_bytes()


def test_workers_that_always_die_end_the_job_and_keep_the_parts(tmp_path: Path) -> None:
    data, recipe, parts = plain_catalogue(tmp_path / "d", 300), Recipe("toy"), []
    ending = threading.Event()

    def kill_all() -> None:
        folder = tmp_path / "toy.parquet.parts"
        while not ending.is_set():
            parts[:] = list(folder.glob("part-*.parquet")) or parts
            for process in workers_of(os.getpid()) if len(parts) >= 3 else ():
                os.kill(process, signal.SIGKILL)
            time.sleep(0.01)

    killer = threading.Thread(target=kill_all)
    killer.start()
    try:
        with pytest.raises(EncoderError, match=r"3 workers died .*killed.*--processes"):
            run(data, tmp_path / "toy.parquet", recipe, 2)
    finally:
        ending.set()
        killer.join()
    assert workers_of(os.getpid()) == []
    report = run(data, tmp_path / "toy.parquet", recipe, 1)
    assert 30 <= report.reused < 300


@pytest.mark.slow
def test_a_worker_that_stands_still_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_blocks, "SILENCE", 15.0)
    data, recipe, stopped = plain_catalogue(tmp_path / "d", 300), Recipe("toy"), []
    run(data, tmp_path / "one.parquet", recipe, 1)

    def stop(state: Progress) -> None:
        if state.stage == "encode" and state.done > 50 and not stopped:
            stopped.extend(workers_of(os.getpid())[:1])
            os.kill(stopped[0], signal.SIGSTOP)

    report = run(data, tmp_path / "two.parquet", recipe, 2, stop)
    assert report.encoded == 300
    assert report.note == "a worker on cpu made no progress for 15 s and was replaced"
    assert not Path(f"/proc/{stopped[0]}").exists()
    assert (tmp_path / "two.parquet").read_bytes() == (tmp_path / "one.parquet").read_bytes()


class Stopping(Toy):
    """As if a driver never came back."""

    def encode_image(self, pixels: np.ndarray) -> np.ndarray:
        if multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGSTOP)
        return super().encode_image(pixels)


class StoppingRecipe(Recipe):
    """Opens it."""

    def open(self, device: str, log=print) -> Toy:
        return Stopping()


@pytest.mark.slow
def test_a_block_over_which_two_workers_stand_still_ends_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_blocks, "SILENCE", 5.0)
    data = plain_catalogue(tmp_path / "d", 60)
    said = r"2 workers made no progress for 5 s over part \d \(items i\d+, i\d+, i\d+ and 7 more\)"
    with pytest.raises(EncoderError, match=said):
        run(data, tmp_path / "x.parquet", StoppingRecipe("toy"), 2)
    assert workers_of(os.getpid()) == []


def test_the_error_of_a_worker_is_the_error_of_the_job(tmp_path: Path) -> None:
    data = plain_catalogue(tmp_path / "d", 30)
    other = Recipe("toy", {"modalities": ("image",)})  # as if a machine had other weights
    with pytest.raises(EncoderError, match="it differs in"):
        extract(
            load_items(data), open_encoder("toy"), tmp_path / "x.parquet", OPTIONS,
            engine=Workers(other, ("cpu", "cpu")),
        )  # fmt: skip
    with pytest.raises(OptionError, match="cannot be sent"):
        extract(
            load_items(data), open_encoder("toy"), tmp_path / "x.parquet", OPTIONS,
            source=lambda image: b"", engine=Workers(Recipe("toy"), ("cpu", "cpu")),
        )  # fmt: skip
    assert workers_of(os.getpid()) == []
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_a_killed_coordinator_leaves_no_process_and_goes_on(tmp_path: Path, marked: str) -> None:
    data = plain_catalogue(tmp_path / "d", 300, size=200)
    run(data, tmp_path / "whole.parquet", Recipe("toy"), 1)
    out = tmp_path / "toy.parquet"
    for count in ("2", "3"):
        job = subprocess.Popen(command(data, out, count))
        parts = len(list(tmp_path.glob("toy.parquet.parts/part-*")))
        wait_until(lambda: len(list(tmp_path.glob("toy.parquet.parts/part-*"))) > parts + 3)  # noqa: B023
        assert len(alive(marked)) >= 2
        job.kill()
        assert job.wait(timeout=60) == -signal.SIGKILL
        wait_until_gone(marked)
        assert not out.exists()
    resumed = subprocess.run(command(data, out, "1"), timeout=60, check=False)
    assert resumed.returncode == 0
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert [p.name for p in tmp_path.glob("*toy*")] == ["toy.parquet"]


def test_nothing_left_to_encode_starts_no_process(tmp_path: Path) -> None:
    data, out, recipe = plain_catalogue(tmp_path / "d", 30), tmp_path / "x.parquet", Recipe("toy")

    def stop(state: Progress) -> None:
        if state.stage == "merge":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(data, out, recipe, 1, stop)
    started: list[int] = []
    report = run(data, out, recipe, 2, lambda state: started.extend(workers_of(os.getpid())))
    assert (report.encoded, report.reused, started) == (0, 30, [])
    with pytest.raises(KeyboardInterrupt):  # all the same with processes at work
        run(data, tmp_path / "y.parquet", recipe, 2, stop_at_once)
    assert workers_of(os.getpid()) == []


def stop_at_once(state: Progress) -> None:
    if state.stage == "encode" and state.done:
        raise KeyboardInterrupt


def test_hosts_see_no_more_of_many_processes_than_of_one(tmp_path: Path) -> None:
    spec = JobSpec(
        open_encoder("toy").card, "float32", Paths(tmp_path, Web(per_host=4)), 5, 1, False
    )
    for count, each in ((1, 4), (2, 2), (3, 1), (9, 1)):
        assert spec.shared(count).source.web == Web(per_host=each)


def test_a_block_may_cost_two_workers_and_not_three() -> None:
    one, two = (Block(n, np.arange(n, n + 1)) for n in range(2))
    table, state = pa.table({"item_id": ["a", "b"]}), Progress(note="said before")
    pending = PendingBlocks([one, two], table, state)
    for _ in range(2):
        assert pending.take(2) == [one, two]
        pending.lost([one, two], "cpu", "killed")
        pending.lost([], "cpu", "killed")
    pending.opened()
    pending.lost([], "cpu", "killed")
    with pytest.raises(
        EncoderError, match=r"3 workers died over part 1 \(items b\), the last on c"
    ):
        pending.lost([two], "cuda:1", "killed")
    pending.hung([one], "cpu")  # a fault of another kind
    with pytest.raises(
        EncoderError, match=r"2 workers made no progress .* over part 0 \(items a\)"
    ):
        pending.hung([one, two], "cpu")
    assert state.note.startswith("said before; a worker on cpu made no progress for 900 s")


def test_devices_are_dealt_out() -> None:
    assert spread("cpu", None) == ("cpu",)
    assert spread("cpu", 3) == ("cpu", "cpu", "cpu")
    assert spread("cuda:0,cuda:1", None) == ("cuda:0", "cuda:1")
    assert spread("cuda:0,cuda:1", 4) == ("cuda:0", "cuda:1", "cuda:0", "cuda:1")
    with pytest.raises(OptionError, match="--processes 1 for 2 devices"):
        spread("cuda:0,cuda:1", 1)


def test_a_slice_travels_without_the_rest_of_its_table(tmp_path: Path) -> None:
    table = load_items(plain_catalogue(tmp_path, 40)).table
    data = packed(table.slice(3, 2))
    assert unpacked(data).equals(table.slice(3, 2))
    assert len(data) < len(packed(table)) / 2
