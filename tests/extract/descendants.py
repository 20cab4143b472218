"""Processes that a test has started, found, killed and waited for."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

MARK = "MMX_TEST_MARK"  # in the environment of a test, and so of all that descends from it


def limited(seconds: int) -> None:
    """A time limit for a test that waits for others; 0 takes it away."""

    def end(*_: object) -> None:
        raise TimeoutError(f"still running after {seconds} s")

    signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)


def alive(mark: str) -> list[int]:
    """The processes that carry the mark, zombies and this one left out."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if f"{MARK}={mark}".encode() in environment and state != "Z":
            found.append(int(folder.name))
    return [process for process in found if process != os.getpid()]


def command_of(process: int) -> str:
    """Its command line; empty when it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def workers_of(coordinator: int) -> list[int]:
    """Its spawned children; the helper that multiprocessing starts is not one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == coordinator and "spawn_main" in command_of(int(folder.name)):
            found.append(int(folder.name))
    return found


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for it, but not for ever."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def wait_until_gone(mark: str, seconds: float = 20) -> None:
    """Wait until nothing that carries the mark is left.

    Of this process's own helper, which multiprocessing starts and keeps, nothing is said.
    """
    end, left = time.monotonic() + seconds, ["?"]
    while left and time.monotonic() < end:
        commands = {process: command_of(process) for process in alive(mark)}
        left = [f"{p}: {c[:200]}" for p, c in commands.items() if "resource_tracker" not in c]
        time.sleep(0.05)
    assert left == [], f"still alive: {left}"
