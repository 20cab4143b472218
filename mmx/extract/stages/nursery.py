"""The job's end of the nursery (mmx.extract.stages.forked), whose forks work for the job."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from multiprocessing.connection import Connection

from mmx.extract.stages.forked import PROGRAM, Work
from mmx.extract.stages.slots import inherited

PATIENCE = 1.0  # s that it may take to end; it may be importing


class Nursery:
    """The process that is forked; started again where it has died."""

    def __init__(self, work: Work, memory: int, silence: float) -> None:
        """``memory`` is the file of slots; a line is given up after ``silence`` s in one call."""
        self._work, self._memory = pickle.dumps(work), memory
        self._silence = struct.pack("ll", max(1, int(silence)), 0)  # a C timeval
        self._program: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def line(self) -> Connection:
        """A line to a new fork, which will say that it is ready. Raises OSError."""
        ours, theirs = socket.socketpair()
        for way in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):  # a stopped fork must not stop us
            ours.setsockopt(socket.SOL_SOCKET, way, self._silence)
        with theirs:
            try:
                self._hand(theirs)
            except OSError:  # it has died
                self.end()
                self._hand(theirs)
        return Connection(ours.detach())

    def end(self) -> None:
        """End it; it ends by itself when its control does."""
        if self._program is None or self._control is None:
            return
        self._control.close()
        try:
            self._program.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._program.kill()
            self._program.wait()
        self._program = self._control = None

    def _hand(self, line: socket.socket) -> None:
        if self._control is None:
            self._start()
        assert self._control is not None
        socket.send_fds(self._control, [b"+"], [line.fileno()])

    def _start(self) -> None:
        self._control, theirs = socket.socketpair()
        line = inherited(theirs.detach())
        numbers = (line, self._memory)
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # Ctrl-C is for the job
        try:
            self._program = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, *map(str, numbers), *sys.path],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=numbers,
                env=os.environ | one,
            )  # fmt: skip
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(line)
        assert self._program.stdin is not None
        with suppress(OSError), self._program.stdin as given:  # it has died: its lines will end
            given.write(self._work)
