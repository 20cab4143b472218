"""The forks of a nursery (mmx.extract.stages.forked): who is ready, has died or is silent."""

from __future__ import annotations

import os
import pickle
import selectors
import signal
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any, Generic, TypeVar

from mmx.extract.stages.forked import Work
from mmx.extract.stages.nursery import Nursery

T = TypeVar("T")
TICK = 1.0  # s between two looks for forks that are silent


@dataclass(eq=False)
class Fork(Generic[T]):
    """One of them, and what it has been given."""

    connection: Connection
    id: int | None = None  # of the process; None: it is not ready
    tasks: deque[T] = field(default_factory=deque)  # it works on the first
    silent: float = 0.0  # s without a word, while it had work and we were listening


class ForkPool(Generic[T]):
    """The forks of one nursery, which work for this process."""

    def __init__(self, work: Work, memory: int, silence: float) -> None:
        """``memory`` is the file of slots; a fork must say something in ``silence`` s."""
        self.all: list[Fork[T]] = []
        self._silence = silence
        self._nursery = Nursery(work, memory, silence)
        self._selector = selectors.DefaultSelector()

    @property
    def ready(self) -> list[Fork[T]]:
        """Those that take tasks."""
        return [fork for fork in self.all if fork.id is not None]

    def spawn(self) -> None:
        """One more fork. Raises OSError."""
        fork: Fork[T] = Fork(self._nursery.line())
        self._selector.register(fork.connection, selectors.EVENT_READ, fork)
        self.all.append(fork)

    def wake_by(self, file: int) -> None:
        """``listen`` ends when this file can be read, too."""
        self._selector.register(file, selectors.EVENT_READ)

    def give(self, fork: Fork[T], one: T, task: object) -> str | None:
        """Send a task, which ``one`` stands for here; else "died" or "silent", as ``listen``."""
        fork.tasks.append(one)
        try:
            fork.connection.send_bytes(pickle.dumps(task, pickle.HIGHEST_PROTOCOL))
        except BlockingIOError:  # stopped, before it had taken all of a large task
            return "silent"
        except OSError:  # it has ended: its id is not its own
            fork.id = None
            return "died"
        return None

    def listen(self, timeout: float) -> Iterator[tuple[Fork[T], str, Any]]:
        """What is said within ``timeout`` s: the fork, a kind and what belongs to it.

        Besides what forks say themselves a kind is "died" or "silent"; ``kill`` such a fork.
        """
        start = monotonic()
        heard = [key.data for key, _ in self._selector.select(timeout) if key.data is not None]
        waited = min(monotonic() - start, TICK)  # time in which we were stopped does not count
        for fork in list(self.all):
            busy = fork.tasks or fork.id is None
            fork.silent = fork.silent + waited if busy and fork not in heard else 0.0
            if fork.silent > self._silence:
                yield fork, "silent", None
        for fork in heard:
            yield fork, *_received(fork)

    def kill(self, fork: Fork[T]) -> None:
        """End a fork, and forget it."""
        if fork.id is not None:
            with suppress(ProcessLookupError):
                os.kill(fork.id, signal.SIGKILL)
        self._selector.unregister(fork.connection)
        fork.connection.close()
        self.all.remove(fork)

    def end(self) -> None:
        """Kill all of them, and the nursery."""
        for fork in list(self.all):
            self.kill(fork)
        self._selector.close()
        self._nursery.end()


def _received(fork: Fork[Any]) -> tuple[str, Any]:
    try:
        kind, body = pickle.loads(fork.connection.recv_bytes())
    except (EOFError, OSError) as error:
        if not isinstance(error, BlockingIOError):  # it has ended: its id is not its own
            fork.id = None
        return "died", None
    if kind == "ready":
        fork.id = body
    return kind, body
