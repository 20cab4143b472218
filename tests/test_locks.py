"""A target and a name belong to one process, and are free when it has ended."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mmx.atomic import claimed, claimed_name
from mmx.errors import TargetError
from mmx.locks import locked
from tests.notes import NOTE, names


def test_a_target_belongs_to_one_process(tmp_path: Path) -> None:
    with (
        claimed(tmp_path / "x", NOTE),
        pytest.raises(TargetError, match=r"another process is writing .*x; wait"),
        claimed(tmp_path / "x", NOTE),
    ):
        pass
    with claimed(tmp_path / "x", NOTE):
        pass
    assert names(tmp_path) == []


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from mmx.locks import locked\n"
        "with locked(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "x")], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    with pytest.raises(TargetError, match="another process"), locked(tmp_path / "x"):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    with locked(tmp_path / "x"):
        pass
    assert names(tmp_path) == []


def test_names_are_taken_by_one_each(tmp_path: Path) -> None:
    """Thirty at once, each through a lock of its own file handle."""
    taken: list[str] = []

    def take() -> None:
        with claimed_name(tmp_path, "x", NOTE) as claim:
            time.sleep(0.02)
            with claim.filled() as temporary:
                temporary.write_text("new")
            taken.append(claim.path.name)

    in_threads(take, 30)
    assert sorted(taken) == names(tmp_path)
    assert len(set(taken)) == 30


def in_threads(work: Callable[[], None], count: int) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
