"""Kill -9 of ``mmx recommend``, ``similar --all``, ``run forget-user``: whole and repeatable."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Iterator
from os import kill
from pathlib import Path

import pytest

from mmx.atomic import file_sha256
from mmx.recommend.run import open_run, verify_run
from mmx.sample.catalogue import write_sample
from tests.cache.stores import make_store
from tests.forked import Forks, forks

pytestmark = pytest.mark.slow
MOMENTS, OPERATIONS = 3, 4  # kills of a command by the clock, and before so many operations
FORGET = ["run", "forget-user", "run"]


@pytest.fixture(scope="module")
def fork() -> Iterator[Forks]:
    with forks() as started:
        yield started


@pytest.fixture(scope="module")
def place(fork: Forks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, ``whole``, that has every kind of table with users."""
    path = tmp_path_factory.mktemp("run")
    write_sample(path / "data", items=48, users=60, seed=3)
    train = ["train", "--model", "bpr", "--epochs", "2", "--data", "data", "--keep-lists", "5",
             "--out", "whole", "--quiet"]  # fmt: skip
    assert fork.run(train, path)[0] == 0, (path / "log.txt").read_text()
    return path


def killed(fork: Forks, arguments: list[str], path: Path, undisturbed: float) -> None:
    """Start a command and kill it at a moment of its time; it may have ended before."""
    process = fork.start(arguments, path)
    time.sleep(undisturbed)
    kill(process, signal.SIGKILL)
    assert fork.wait(process)[0] in (0, -signal.SIGKILL)


def moments(operations: int) -> list[int]:
    """The last operations, where results are put in place, and some before; 0 is by the clock."""
    early = random.Random(operations).sample(range(1, operations + 1), min(OPERATIONS, operations))
    late = range(max(1, operations - OPERATIONS), operations + 1)
    return [*sorted({*early, *late}), *[0] * MOMENTS]


@pytest.mark.parametrize("old", [False, True])
def test_lists_are_whole_or_the_old_ones(fork: Forks, place: Path, old: bool) -> None:
    """After a kill there is the file of before, or none where there was none, or the new one."""
    out = place / "lists.parquet"
    arguments = ["recommend", "whole", "--all", "--out", out.name, "--k", "40", "--seen", "none",
                 "--quiet", *(["--overwrite"] if old else [])]  # fmt: skip
    shorter = ["--k", "1", "--out", "before.parquet", "--overwrite", "--quiet"]
    assert fork.run(["recommend", "whole", "--all", *shorter], place)[0] == 0
    out.unlink(missing_ok=True)
    if old:
        shutil.copy(place / "before.parquet", out)
    start = time.monotonic()
    code, operations = fork.run(arguments, place)
    seconds = time.monotonic() - start
    assert code == 0, (place / "log.txt").read_text()
    new, chance = file_sha256(out), random.Random(3)
    before = file_sha256(place / "before.parquet") if old else None
    names = {path.name for path in place.iterdir()}
    for moment in moments(operations):
        out.unlink(missing_ok=True)
        if old:
            shutil.copy(place / "before.parquet", out)
        if moment:
            code, _ = fork.run(arguments, place, kill=moment)
            assert code == -signal.SIGKILL, (place / "log.txt").read_text()
        else:
            killed(fork, arguments, place, seconds * chance.uniform(0.05, 1.0))
        there = file_sha256(out) if out.exists() else None
        assert there in (before, new), f"before operation {moment} of {operations}"
        if there == new and not old:
            continue  # a finished file is not replaced unasked
        assert fork.run(arguments, place)[0] == 0, (place / "log.txt").read_text()
        assert file_sha256(out) == new
    assert {path.name for path in place.iterdir()} == names


def test_similar_to_all_resumes(fork: Forks, tmp_path: Path) -> None:
    """Parts of four blocks are kept until the file is there; nothing is left at the end."""
    make_store(tmp_path / "s.parquet", 4000, block=1000)
    out = tmp_path / "similar.parquet"
    arguments = ["similar", "--all", "--store", "s.parquet", "--k", "3", "--out", out.name, "-q"]
    code, operations = fork.run(arguments, tmp_path)
    assert code == 0, (tmp_path / "log.txt").read_text()
    new, names = file_sha256(out), {path.name for path in tmp_path.iterdir()}
    kept = set()
    for moment in [*range(1, operations, 4), operations]:
        out.unlink(missing_ok=True)
        assert fork.run(arguments, tmp_path, kill=moment)[0] == -signal.SIGKILL
        kept.add(len(list(tmp_path.glob(".similar.parquet.*.lists/*.part"))))
        assert not out.exists() or file_sha256(out) == new, f"before operation {moment}"
        code, _ = fork.run([*arguments, "--overwrite"], tmp_path)
        assert code == 0, (tmp_path / "log.txt").read_text()
        assert file_sha256(out) == new
        assert {path.name for path in tmp_path.iterdir()} == names
    assert {0, 4} < kept


def test_a_user_is_forgotten_or_still_there(fork: Forks, place: Path) -> None:
    """The run always opens; the same command ends what a kill left, and nothing lies beside it."""
    run = place / "run"
    users = open_run(place / "whole").data.users.ids.to_pylist()
    gone = users[5]

    def again() -> None:
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(place / "whole", run)

    again()
    names = {path.name for path in place.iterdir()}
    start = time.monotonic()
    code, operations = fork.run([*FORGET, gone], place)
    seconds, chance = time.monotonic() - start, random.Random(5)
    assert code == 0, (place / "log.txt").read_text()
    new = {path.name: file_sha256(path) for path in run.iterdir()}
    for moment in moments(operations):
        again()
        if moment:
            code, _ = fork.run([*FORGET, gone], place, kill=moment)
            assert code == -signal.SIGKILL, (place / "log.txt").read_text()
        else:
            killed(fork, [*FORGET, gone], place, seconds * chance.uniform(0.05, 1.0))
        assert verify_run(run) == [], f"before operation {moment} of {operations}"
        left = open_run(run).data.users.ids.to_pylist()
        assert left in (users, [user for user in users if user != gone])
        expected = 0 if gone in left else 1  # the user is unknown to a run that has forgotten
        assert fork.run([*FORGET, gone], place)[0] == expected
        assert {path.name: file_sha256(path) for path in run.iterdir()} == new
    again()
    leftovers = {path.name for path in place.iterdir()} - names
    assert not leftovers
