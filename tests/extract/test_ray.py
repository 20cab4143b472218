"""A Ray cluster of two nodes ends in the local store, whatever of it is killed."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmx.data.dataset import load_items
from mmx.errors import EncoderError, OptionError
from mmx.extract.encoders import open_encoder
from mmx.extract.encoders.toy import Toy
from mmx.extract.engine import engine_for
from mmx.extract.options import ExtractOptions, ExtractReport
from mmx.extract.pipeline import extract
from mmx.extract.stages.progress import Progress
from mmx.extract.workers import pending as pending_blocks
from mmx.extract.workers.job import Recipe
from mmx.extract.workers.ray_cluster import shares
from mmx.extract.workers.ray_engine import RayActors
from tests.catalogue import plain_catalogue
from tests.extract.commands import command
from tests.extract.descendants import alive, command_of, limited, wait_until, wait_until_gone

OPTIONS = ExtractOptions(batch_size=5, part_size=10, decode_threads=1)
ITEMS = 1200


@pytest.fixture
def alone(
    marked: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    """Ray to itself, though tests run side by side: a folder of its own, one cluster at a time.

    None of its processes outlives the test.
    """
    pytest.importorskip("ray", reason="ray is not installed (mmx[ray])")
    folder = tempfile.mkdtemp(prefix="mmx")  # for sockets, whose paths must be short
    monkeypatch.setenv("RAY_TMPDIR", folder)
    with (tmp_path_factory.getbasetemp().parent / "ray.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        limited(240)
        try:
            yield
        finally:
            limited(0)
        wait_until_gone(marked)
        shutil.rmtree(folder)


@pytest.fixture
def cluster(alone: None) -> Iterator[Any]:
    """Two nodes of one core each."""
    from ray import cluster_utils as utils

    memory = 80 << 20  # bytes; Ray takes no less
    nodes = utils.Cluster()
    nodes.add_node(num_cpus=1, object_store_memory=memory, include_dashboard=False)
    nodes.add_node(num_cpus=1, object_store_memory=memory)
    try:
        yield nodes
    finally:
        nodes.shutdown()


class Slow(Toy):
    """A toy that takes long enough to be killed."""

    def encode_image(self, pixels: np.ndarray) -> np.ndarray:
        time.sleep(0.04)
        return super().encode_image(pixels)


@dataclass(frozen=True)
class SlowRecipe(Recipe):
    """Opens it."""

    def open(self, device: str, log=print) -> Toy:
        return Slow()


def run(data: Path, out: Path, cluster: Any, progress=lambda state: None) -> ExtractReport:
    engine = RayActors(SlowRecipe("toy"), "cpu", address=cluster.address)
    return extract(load_items(data), Slow(), out, OPTIONS, progress, engine=engine)


def actors(mark: str) -> list[int]:
    return [p for p in alive(mark) if "ray::Encode" in command_of(p)]


def agents(mark: str) -> list[int]:
    commands = {process: command_of(process) for process in alive(mark)}
    return [p for p, c in commands.items() if re.search(r"^ray::\w+Agent|^\S+python.*/agent\b", c)]


@pytest.mark.slow
def test_worker_and_node_killed(tmp_path: Path, cluster: Any, marked: str) -> None:
    """The second node does not come back and the first has no room: its blocks must move."""
    data = plain_catalogue(tmp_path / "d", ITEMS)
    extract(load_items(data), open_encoder("toy"), tmp_path / "local.parquet", OPTIONS)
    killed: dict[str, int] = {}  # what → rows done at that time

    def kill(state: Progress) -> None:
        if state.stage != "encode" or "node" in killed:
            return
        found = actors(marked)
        if not killed and state.done >= 100 and len(found) == 2:
            os.kill(found[0], signal.SIGKILL)
            killed["worker"] = state.done
        elif killed and state.done >= killed["worker"] + 300 and len(found) == 2:
            cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
            killed["node"] = state.done

    report = run(data, tmp_path / "ray.parquet", cluster, kill)
    assert list(killed) == ["worker", "node"]
    assert killed["node"] <= ITEMS * 3 / 4
    assert report.encoded == ITEMS
    assert (tmp_path / "ray.parquet").read_bytes() == (tmp_path / "local.parquet").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d", "local.parquet", "ray.parquet"]


class Hanging(Slow):
    """Never comes back from its sixth batch; a second one, elsewhere, does."""

    def __init__(self, marker: Path) -> None:
        super().__init__()
        self.marker, self.batches = marker, 0

    def encode_image(self, pixels: np.ndarray) -> np.ndarray:
        self.batches += 1
        if self.batches == 6:
            with suppress(FileExistsError), self.marker.open("x") as file:
                file.write(str(os.getpid()))
                file.flush()
                time.sleep(1e6)
        return super().encode_image(pixels)


@dataclass(frozen=True)
class HangingRecipe(Recipe):
    """Opens it."""

    def open(self, device: str, log=print) -> Toy:
        return Hanging(self.options["marker"])


@pytest.mark.slow
def test_an_actor_that_hangs_is_replaced(
    tmp_path: Path,
    cluster: Any,
    marked: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pending_blocks, "SILENCE", 20.0)  # opening an actor may take long
    data, marker = plain_catalogue(tmp_path / "d", 300), tmp_path / "marker"
    extract(load_items(data), open_encoder("toy"), tmp_path / "local.parquet", OPTIONS)
    engine = RayActors(HangingRecipe("toy", {"marker": marker}), "cpu", address=cluster.address)
    out = tmp_path / "ray.parquet"
    report = extract(load_items(data), Slow(), out, OPTIONS, engine=engine)
    assert report.note == "a worker on the Ray cluster made no progress for 20 s and was replaced"
    assert out.read_bytes() == (tmp_path / "local.parquet").read_bytes()
    wait_until(lambda: int(marker.read_text()) not in alive(marked), 10)


@pytest.mark.slow
def test_the_error_of_an_actor_is_the_error_of_the_job(tmp_path: Path, cluster: Any) -> None:
    data = plain_catalogue(tmp_path / "d", 30)
    other = Recipe("toy", {"modalities": ("image",)})  # as if a machine had other weights
    expected = [(other, "it differs in"), (DyingRecipe("toy"), "3 workers died before the first")]
    for recipe, said in expected:
        engine = RayActors(recipe, "cpu", address=cluster.address)
        with pytest.raises(EncoderError, match=said):
            extract(load_items(data), Slow(), tmp_path / "x.parquet", OPTIONS, engine=engine)
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


@dataclass(frozen=True)
class DyingRecipe(Recipe):
    """As if memory ended each time."""

    def open(self, device: str, log=print) -> Toy:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


@pytest.mark.slow
def test_a_killed_driver_leaves_no_process_and_resumes(
    tmp_path: Path,
    alone: None,
    marked: str,
) -> None:
    """Ray's two agents alone stay: for a minute they try to reach the head (Ray 2.60)."""
    data, out = plain_catalogue(tmp_path / "d", ITEMS, size=200), tmp_path / "toy.parquet"
    extract(load_items(data), open_encoder("toy"), tmp_path / "whole.parquet", OPTIONS)
    job = subprocess.Popen([*command(data, out, "2"), "--engine", "ray"])
    wait_until(lambda: len(list(tmp_path.glob("toy.parquet.parts/part-*"))) > 5, 120)
    job.kill()
    assert job.wait(timeout=60) == -signal.SIGKILL
    wait_until(lambda: len(agents(marked)) == len(alive(marked)) <= 2, 20)
    for process in agents(marked):
        os.kill(process, signal.SIGKILL)
    wait_until_gone(marked)
    assert not out.exists()
    subprocess.run(command(data, out, "1"), timeout=60, check=True)
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert [p.name for p in tmp_path.glob("*toy*")] == ["toy.parquet"]


def test_cores_and_gpus_are_shared_out() -> None:
    plain = [{"CPU": 8.0}, {"CPU": 4.0}, {}]
    assert shares(plain, False, None) == (3, 4)
    assert shares(plain, False, 4) == (4, 2)
    assert shares([{"CPU": 16.0, "GPU": 2.0}, {"CPU": 64.0}], True, None) == (2, 8)
    assert shares([{"CPU": 16.0, "GPU": 2.0}, {"CPU": 8.0, "GPU": 8.0}], True, None) == (10, 1)
    with pytest.raises(OptionError, match="has a GPU; --device cpu"):
        shares(plain, True, None)


def test_options_that_do_not_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"pip install 'mmx\[ray\]'"):
        engine_for(Recipe("toy"), "cpu", engine="ray")
    monkeypatch.undo()
    with pytest.raises(OptionError, match="--ray-address goes with --engine ray"):
        engine_for(Recipe("toy"), "cpu", address="auto")
    with pytest.raises(OptionError, match="did you mean 'ray'"):
        engine_for(Recipe("toy"), "cpu", engine="rai")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    with pytest.raises(OptionError, match=r"127\.0\.0\.1:9: nothing listens there"):
        engine_for(Recipe("toy"), "cpu", engine="ray", address="127.0.0.1:9")
    with pytest.raises(OptionError, match="--processes 0: 1 to 1024 is expected"):
        engine_for(Recipe("toy"), "cpu", processes=0)
    assert engine_for(Recipe("toy"), "cpu", processes=1) == (None, "cpu")
