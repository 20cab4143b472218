"""``mmx`` in processes forked from one that has imported everything: a kill test needs many.

    python -m tests.forked    reads commands, one JSON object a line, and answers each by a line

    {"start": ["train", …], "cwd": DIR, "kill": N or null}   → the process id
    {"wait": PID}                                            → its exit code, -9 if killed, and
                                                               how many file operations it made

A process with ``kill`` ends itself by SIGKILL before its N-th operation that changes a folder
or opens a file for writing, counted from 1.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.link"}


class Forks:
    """The program above, from the side of a test."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def start(self, arguments: list[str], cwd: Path, kill: int | None = None) -> int:
        """Start ``mmx``; its process id."""
        return int(self._ask({"start": arguments, "cwd": str(cwd), "kill": kill}))

    def wait(self, process: int) -> tuple[int, int]:
        """Its exit code, and the operations it made."""
        code, count = json.loads(self._ask({"wait": process}))
        return code, count

    def run(self, arguments: list[str], cwd: Path, kill: int | None = None) -> tuple[int, int]:
        """Both."""
        return self.wait(self.start(arguments, cwd, kill))

    def _ask(self, question: dict[str, Any]) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(question), file=self.process.stdin, flush=True)
        return self.process.stdout.readline()


@contextmanager
def forks() -> Iterator[Forks]:
    """The program, started."""
    command = [sys.executable, "-m", "tests.forked"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=Path(__file__).parents[1], env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        yield Forks(process)
        assert process.stdin is not None
        process.stdin.close()


def main() -> None:
    """Answer until stdin ends."""
    import_all()
    counters: dict[int, int] = {}  # process → where it writes its count
    for line in sys.stdin:
        asked = json.loads(line)
        if "wait" in asked:
            _, status = os.waitpid(asked["wait"], 0)
            written = os.pread(counters[asked["wait"]], 20, 0)
            os.close(counters.pop(asked["wait"]))
            print(json.dumps([os.waitstatus_to_exitcode(status), int(written or 0)]), flush=True)
            continue
        counter = os.memfd_create("count")
        process = os.fork()
        if not process:
            run(asked, counter)
        counters[process] = counter
        print(process, flush=True)


def import_all() -> None:
    """What commands import, so that a fork need not."""
    import mmx.cli.app
    import mmx.extract.encoders.openclip
    import mmx.extract.engine
    import mmx.extract.finetune
    import mmx.extract.pipeline
    import mmx.recommend.fit
    import mmx.recommend.models.bpr
    import mmx.recommend.models.vbpr  # noqa: F401
    from mmx.recommend import checkpoint

    checkpoint.EVERY = 0.0  # after each epoch: a kill between two of them is gone on from


def run(asked: dict[str, Any], counter: int) -> None:
    """``mmx`` as a program; never returns."""
    from mmx.cli import program

    os.chdir(asked["cwd"])
    log = os.open("log.txt", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for handle in (1, 2):
        os.dup2(log, handle)
    watch(asked["kill"], counter)
    sys.argv = ["mmx", *asked["start"]]
    try:
        program()
    except SystemExit as left:
        sys.stderr.flush()
        os._exit(int(left.code or 0))
    os._exit(0)


def watch(kill: int | None, counter: int) -> None:
    """Count what changes files, and end the process before one of these."""
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & 3
        exchanges = event == "ctypes.dlsym" and arguments[1] == "renameat2"
        if event in CHANGES or writes or exchanges:
            count += 1
            os.pwrite(counter, str(count).encode(), 0)
            if count == kill:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


if __name__ == "__main__":
    main()
