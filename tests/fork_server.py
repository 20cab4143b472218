"""``mmx`` in processes forked from one that has imported the packages, which takes most of a start.

    done = run_mmx(["info", "data"], folder)    as subprocess.run of ``python -m mmx`` would

A forked process is what ``python -m mmx`` is: arguments, folder, environment, files 0 to 2, what
runs at exit, exit code or signal. The modules of mmx are imported by each again, in its own order.
Not the same are: what packages do while they are imported (warnings, environment variables that
they read, modules of the same name in the folder), the random hashes of Python's sets, and peaks of
memory. Tests of these start Python. So does ``run_mmx`` under another environment than the
session's, but for variables that mmx and pytest read or that packages set themselves.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace

PACKAGES = [
    "duckdb", "faiss", "numpy", "packaging.requirements", "PIL.Image", "pyarrow.compute",
    "pyarrow.parquet", "pydantic.dataclasses", "pydantic.types", "rich.console", "rich.progress",
    "rich.table", "safetensors.torch", "scipy.sparse", "sympy", "torch", "torch.distributed.fsdp",
    "torch.fx.experimental.symbolic_shapes", "typer", "yaml",
]  # fmt: skip
MORE = ["pandas", "torch._dynamo"]  # where no encoder is opened first; see mmx/extract/lean.py
ENCODING = ("extract", "finetune", "search", "serve", "--end-to-end")
READ_LATER = ("LESS", "MMX_", "PYTEST_", "RAY_")  # not by the packages above
SET_LATER = ("KMP_", "TOKENIZERS_", "TORCHINDUCTOR_", "_RJEM_")  # by packages of the tests
SESSION = {**os.environ}
LARGEST = 1 << 17  # bytes of a question


def run_mmx(
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str] | None = None,
    timeout: float = 180,
) -> subprocess.CompletedProcess[str]:
    """Run the CLI; ``environment`` is that of this process if None.

    Raises subprocess.TimeoutExpired after ``timeout`` seconds.
    """
    environment = {**os.environ} if environment is None else environment
    if _alike(environment):
        return _forked(arguments, folder, environment, timeout)
    return started_mmx(arguments, folder, environment, timeout)


def started_mmx(
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str] | None = None,
    timeout: float = 180,
) -> subprocess.CompletedProcess[str]:
    """The same by a Python that is started for it."""
    return subprocess.run(
        [sys.executable, "-m", "mmx", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip


def _alike(environment: Mapping[str, str]) -> bool:
    """Whether packages that were imported under the session's would be the same under this one."""
    return all(
        environment.get(name) == SESSION.get(name)
        for name in {*environment, *SESSION}
        if not name.startswith(READ_LATER + SET_LATER)
    )


def _forked(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    from multiprocessing import TimeoutError, pool  # not at the top: it registers what runs at exit

    question = {"arguments": arguments, "folder": str(folder), "environment": dict(environment)}
    _, channel = server(not any(word in ENCODING for word in arguments))
    (out, out_side), (err, err_side) = os.pipe(), os.pipe()
    socket.send_fds(channel, [json.dumps(question).encode()], [0, out_side, err_side])
    process = int(channel.recv(LARGEST))
    for side in (out_side, err_side):
        os.close(side)
    with pool.ThreadPool(2) as readers:
        waiting = [readers.apply_async(_read, (handle,)) for handle in (out, err)]
        try:
            texts = [one.get(timeout) for one in waiting]
        except TimeoutError as error:
            os.kill(process, signal.SIGKILL)
            channel.recv(LARGEST)
            raise subprocess.TimeoutExpired(list(arguments), timeout) from error
    return subprocess.CompletedProcess(list(arguments), int(channel.recv(LARGEST)), *texts)


def _read(handle: int) -> str:
    with open(handle) as file:
        return file.read()


@cache
def server(more: bool) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """The program below, started once in a process of pytest, and where it is asked."""
    packages = [*PACKAGES, *(MORE if more else ())]
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fork_server", str(theirs.fileno()), *packages],
        cwd=Path(__file__).parents[1], env={**SESSION, "OMP_NUM_THREADS": "1"},
        pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
    )  # fmt: skip
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return process, ours


def main() -> None:
    """Fork for each question that comes, until the other side is closed."""
    last: list[Callable[[], None]] = []
    atexit.register(lambda: [function() for function in last])  # before what packages register
    for name in sys.argv[2:]:
        importlib.import_module(name)
    gc.freeze()
    channel = socket.socket(fileno=int(sys.argv[1]))
    while True:
        question, handles, _, _ = socket.recv_fds(channel, LARGEST, 3)
        if not question:
            return
        process = os.fork()
        if not process:
            channel.close()
            break
        for handle in handles:
            os.close(handle)
        channel.send(str(process).encode())
        _, status = os.waitpid(process, 0)
        channel.send(str(os.waitstatus_to_exitcode(status)).encode())
    for number, handle in enumerate(handles):
        os.dup2(handle, number)
        os.close(handle)
    _become_mmx(last, **json.loads(question))


def _become_mmx(
    last: list[Callable[[], None]],
    arguments: list[str],
    folder: str,
    environment: dict[str, str],
) -> None:
    """What ``python -m mmx`` does after Python has started; it ends as any program does."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[0] = os.getcwd()
    sys.argv = ["-m", *arguments]
    import mmx.cli

    # what program() registers first is the last to run, after what packages have registered too
    ending = SimpleNamespace(register=last.append, _run_exitfuncs=atexit._run_exitfuncs)
    mmx.cli.atexit = ending  # type: ignore[assignment]
    runpy._run_module_as_main("mmx")  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
