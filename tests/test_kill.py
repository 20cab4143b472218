"""Kill -9 at many moments: what was there stays whole, or the new one is."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from os import kill
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mmx.atomic import file_sha256
from mmx.cache.store import open_store
from mmx.errors import MmxError
from mmx.recommend.run import open_run
from mmx.sample.catalogue import write_sample
from tests.forked import Forks, forks

pytestmark = pytest.mark.slow
MOMENTS = 20

COMMANDS = {
    "extract": ["extract", "--model", "toy", "--batch-size", "6", "--part-size", "6"],
    "train": ["train", "--model", "bpr", "--epochs", "3", "--batch-size", "256"],
    "finetune": ["finetune", "--model", "clip:mini", "--epochs", "2", "--batch-size", "8"],
}
OUT = {"extract": "out.parquet", "train": "run", "finetune": "tuned"}
OTHER = {  # what makes an older result, of other contents
    "extract": ["--dtype", "float16"],
    "train": ["--seed", "8"],
    "finetune": ["--seed", "8"],
}
KEPT = {"data", "old", "cache", "log.txt"}


@dataclass(frozen=True)
class Place:
    """A folder with a dataset, and the two whole results of a command by their contents."""

    path: Path
    old: Path
    new: dict[str, str]


@pytest.fixture(scope="module")
def fork() -> Iterator[Forks]:
    with forks() as started:
        yield started


@pytest.fixture(scope="module", params=COMMANDS)
def place(
    request: pytest.FixtureRequest, fork: Forks, tmp_path_factory: pytest.TempPathFactory
) -> Place:
    """For each command."""
    name = request.param
    path = tmp_path_factory.mktemp(name)
    write_sample(path / "data", items=36, users=40, seed=3)
    assert fork.run([*command(name), *OTHER[name]], path)[0] == 0, (path / "log.txt").read_text()
    (path / OUT[name]).rename(path / "old")
    assert fork.run(command(name), path)[0] == 0
    new = contents(path / OUT[name])
    remove(path / OUT[name])
    return Place(path, path / "old", new)


def command(name: str, *more: str) -> list[str]:
    return [*COMMANDS[name], "--data", "data", "--out", OUT[name], "--quiet", *more]


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


CLOCKED = ("history.parquet", "config.json")  # these have seconds


def contents(path: Path) -> dict[str, str]:
    """What of a result does not depend on the clock, by file."""
    files = [p for p in sorted(path.rglob("*")) if p.is_file()] if path.is_dir() else [path]
    found = {p.name: file_sha256(p) for p in files if p.name not in CLOCKED}
    for config in path.glob("config.json"):
        found["config.json"] = str(json.loads(config.read_text()) | {"cost": None})
    return found


def is_whole(path: Path) -> None:
    """It opens, and all of it can be read."""
    if path.suffix == ".parquet":
        assert open_store(path).verify() == []
    elif path.name == "run":
        open_run(path)


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_old_one_or_the_new_one(fork: Forks, place: Place, overwrite: bool) -> None:
    """At twenty file operations, drawn from all there are, the last ones among them."""
    name = next(n for n in COMMANDS if place.path.name.startswith(n))
    out = place.path / OUT[name]
    arguments = command(name, *(["--overwrite"] if overwrite else []))
    before = begin(place, out, overwrite)
    code, operations = fork.run(arguments, place.path)
    assert code == 0
    end(place, out)
    chance = random.Random(5)
    few = min(MOMENTS // 2, operations)
    moments = {*range(operations - few + 1, operations + 1)}
    while len(moments) < min(MOMENTS, operations):
        moments.add(chance.randint(1, operations))
    for number, moment in enumerate(sorted(moments)):
        before = begin(place, out, overwrite)
        code, _ = fork.run(arguments, place.path, kill=moment)
        assert code == -signal.SIGKILL, (place.path / "log.txt").read_text()
        there = contents(out) if out.exists() else {}
        assert there in (before, place.new), f"before operation {moment} of {operations}"
        if there:
            is_whole(out)
        if number % 4 or (there == place.new and not overwrite):
            continue  # now and then is enough; a finished run is not replaced unasked
        assert fork.run(arguments, place.path)[0] == 0, (place.path / "log.txt").read_text()
        end(place, out)


@pytest.mark.parametrize("overwrite", [False, True])
def test_by_the_clock(fork: Forks, place: Place, overwrite: bool) -> None:
    """At twenty moments of an undisturbed run's time."""
    name = next(n for n in COMMANDS if place.path.name.startswith(n))
    out = place.path / OUT[name]
    arguments = command(name, *(["--overwrite"] if overwrite else []))
    begin(place, out, overwrite)
    start = time.monotonic()
    assert fork.run(arguments, place.path)[0] == 0
    undisturbed, chance = time.monotonic() - start, random.Random(7)
    for _ in range(MOMENTS):
        before = begin(place, out, overwrite)
        process = fork.start(arguments, place.path)
        time.sleep(undisturbed * chance.uniform(0.05, 1.0))
        kill(process, signal.SIGKILL)
        fork.wait(process)
        there = contents(out) if out.exists() else {}
        assert there in (before, place.new)
        if there:
            is_whole(out)
    begin(place, out, overwrite)
    assert fork.run(arguments, place.path)[0] == 0
    end(place, out)


def begin(place: Place, out: Path, overwrite: bool) -> dict[str, str]:
    """Put the old result at ``out``, or nothing; its contents."""
    remove(out)
    for leftover in place.path.iterdir():  # of the kill before, where it was not gone on from
        if leftover.name not in KEPT:
            remove(leftover)
    if not overwrite:
        return {}
    if place.old.is_dir():
        shutil.copytree(place.old, out)
    else:
        shutil.copy(place.old, out)
    return contents(out)


def end(place: Place, out: Path) -> None:
    """The new one is there, and nothing next to it."""
    assert contents(out) == place.new
    assert {p.name for p in place.path.iterdir()} - KEPT == {out.name}


def test_an_old_store_that_grows(fork: Forks, tmp_path: Path) -> None:
    """Without --overwrite: the store of fewer items, or the one of all."""
    write_sample(tmp_path / "data", items=36, users=10, seed=3)
    table = pq.read_table(tmp_path / "data" / "items.parquet")
    pq.write_table(table.slice(0, 20), tmp_path / "less.parquet")
    out, old = tmp_path / OUT["extract"], tmp_path / "old.parquet"
    before = [*COMMANDS["extract"], "--data", "less.parquet", "--images", "data"]
    assert fork.run([*before, "--out", "old.parquet", "--quiet"], tmp_path)[0] == 0
    shutil.copy(old, out)
    code, operations = fork.run(command("extract"), tmp_path)
    assert code == 0
    new, chance = file_sha256(out), random.Random(5)
    last = {*range(operations - MOMENTS // 2, operations + 1)}
    for moment in sorted(last | {chance.randint(1, operations) for _ in range(MOMENTS // 2)}):
        shutil.copy(old, out)
        assert fork.run(command("extract"), tmp_path, kill=moment)[0] == -signal.SIGKILL
        assert file_sha256(out) in (file_sha256(old), new)
        assert open_store(out).verify() == []
        assert fork.run(command("extract"), tmp_path)[0] == 0
        assert file_sha256(out) == new


def test_ten_trains_at_once_are_ten_runs(fork: Forks, tmp_path: Path) -> None:
    write_sample(tmp_path / "data", items=48, users=40, seed=3)
    arguments = [*COMMANDS["train"], "--data", "data", "--quiet"]
    started = [fork.start(arguments, tmp_path) for _ in range(10)]
    assert [fork.wait(process)[0] for process in started] == [0] * 10
    names = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert names == sorted(["bpr", *(f"bpr-{n}" for n in range(2, 11))])
    for name in names:
        open_run(tmp_path / "runs" / name)


def test_two_trains_of_one_name_are_one_run(fork: Forks, tmp_path: Path) -> None:
    write_sample(tmp_path / "data", items=48, users=40, seed=3)
    started = [fork.start([*command("train"), "--seed", str(seed)], tmp_path) for seed in range(4)]
    codes = sorted(fork.wait(process)[0] for process in started)
    assert codes == [0, 1, 1, 1]
    open_run(tmp_path / "run")


def test_a_broken_run_may_be_replaced(fork: Forks, tmp_path: Path) -> None:
    write_sample(tmp_path / "data", items=48, users=40, seed=3)
    assert fork.run(command("train"), tmp_path)[0] == 0
    (tmp_path / "run" / "users.parquet").write_bytes(b"PAR1")
    with pytest.raises(MmxError, match="is broken"):
        open_run(tmp_path / "run")
    assert fork.run(command("train", "--overwrite"), tmp_path)[0] == 0
    open_run(tmp_path / "run")
