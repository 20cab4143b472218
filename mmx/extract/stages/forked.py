"""Processes that work for another and share memory with it: their own end.

They are forks of one, the nursery, which imports what their work needs (torch takes seconds) once
for all of them and runs no thread. It is a program of its own and no fork of the job's process,
whose threads and GPU a fork would not survive; nor is it multiprocessing's, which would import the
user's script again.

job → nursery    on its standard input the ``Work``, then a connection for each fork
job → fork       tasks, several ahead
fork → job       ("ready", its process id), then for each task in turn ("done", what was made) or
                 ("error", exception), and before it what the work has to say
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import socket
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np

from mmx.extract.stages.sending import sendable
from mmx.extract.stages.slots import Shape, mapped
from mmx.packages import own_this_process

PROGRAM = (
    "import sys; sys.path[:] = sys.argv[3:]; from mmx.extract.stages.forked import nursery; "
    "nursery(int(sys.argv[1]), int(sys.argv[2]))"
)


class Work(Protocol):
    """What forks do; it is pickled."""

    def prepare(self) -> None:
        """Import what the work needs; in the nursery, which runs no thread and no task."""
        ...

    def forked(self, line: Connection, memory: int) -> Forked:
        """A fork's end of its line; ``memory`` is the file of slots."""
        ...


def nursery(control: int, memory: int) -> None:
    """Fork for each connection that comes over the socket ``control``, until it ends."""
    signal.signal(signal.SIGCHLD, _reap)
    own_this_process()
    work: Work = pickle.load(sys.stdin.buffer)
    work.prepare()
    gc.freeze()
    with socket.socket(fileno=control) as given:
        while lines := socket.recv_fds(given, 1, 1)[1]:
            if os.fork() == 0:
                given.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                try:
                    work.forked(Connection(lines[0]), memory).run()
                finally:
                    os._exit(1)
            os.close(lines[0])
    with suppress(ChildProcessError):  # their lines have ended too
        while os.wait():
            pass
    os._exit(0)  # without taking torch apart


def _reap(*_: object) -> None:
    """Forget forks that have ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


class Forked:
    """One fork's end of the line; ``made`` is its work."""

    def __init__(self, line: Connection, memory: int, shape: Shape) -> None:
        """``shape`` is that of a slot of the file ``memory``."""
        self.line, self.memory, self.shape = line, memory, shape
        self._tasks: SimpleQueue[Any] = SimpleQueue()
        self._slots: dict[int, np.ndarray] = {}

    def made(self, task: Any) -> object:
        """Do one task; what the job is told of it."""
        raise NotImplementedError

    def run(self) -> None:
        """Do tasks until the line ends."""
        threading.Thread(target=self._receive, daemon=True).start()
        self.say("ready", os.getpid())
        while True:
            task = self._tasks.get()
            try:
                self.say("done", self.made(task))
            except BaseException as error:
                self.say("error", sendable(error))

    def _receive(self) -> None:
        """Take tasks at once, so that the job never waits to give one; end with the job."""
        with suppress(EOFError, OSError):
            while True:
                self._tasks.put(pickle.loads(self.line.recv_bytes()))
        os._exit(0)

    def say(self, kind: str, body: object) -> None:
        """Tell the job."""
        try:
            self.line.send_bytes(pickle.dumps((kind, body), pickle.HIGHEST_PROTOCOL))
        except OSError:  # the job has ended
            os._exit(0)

    def slot(self, number: int) -> np.ndarray:
        """The slot, which the job reads."""
        if number not in self._slots:
            self._slots[number] = mapped(self.memory, number, self.shape)
        return self._slots[number]
