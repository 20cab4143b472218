"""A worker process of this machine: gets blocks over a pipe and sends tables back.

worker → coordinator   ("next", None), ("part", (number, bytes)), ("count", None),
                       ("error", exception), each with what it has done so far
coordinator → worker   a block as (number, bytes), or None: there are no more
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from time import sleep
from typing import Any

import pyarrow as pa

from mmx.extract.planning import BlockRows
from mmx.extract.stages.progress import Progress
from mmx.extract.stages.run import cores
from mmx.extract.stages.sending import sendable
from mmx.extract.workers.job import JobSpec, Recipe, Worker
from mmx.extract.workers.messages import counts, packed, unpacked
from mmx.packages import own_this_process

EVERY = 0.1  # s between two looks at the counts


def work(line: Connection, recipe: Recipe, spec: JobSpec, device: str, share: int) -> None:
    """Encode what comes over the ``line``, as one of ``share`` processes of this machine."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C: the coordinator ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    own_this_process()
    talk = Talk(line)
    threading.Thread(target=talk.count, daemon=True).start()
    try:
        worker = Worker(recipe, spec, device, max(1, cores() // share), share)
        worker.run(talk.blocks(), talk.part, talk.state)
    except BaseException as error:
        with suppress(OSError):  # the coordinator is gone
            talk.say("error", sendable(error))


class Talk:
    """This end of the line. Parts are sent by the writing thread, counts by one of their own."""

    def __init__(self, line: Connection) -> None:
        self.line, self.state = line, Progress()
        self._lock = threading.Lock()

    def say(self, kind: str, body: Any = None) -> None:
        """One message, with the counts."""
        with self._lock:
            self.line.send((kind, body, counts(self.state)))

    def blocks(self) -> Iterator[BlockRows]:
        """Blocks as they come."""
        while True:
            self.say("next")
            found = self.line.recv()
            if found is None:
                return
            number, rows = found
            yield number, unpacked(rows)

    def part(self, number: int, rows: pa.Table) -> None:
        """A finished block."""
        self.say("part", (number, packed(rows)))

    def count(self) -> None:
        """The counts when they have changed: for the live line, and as a sign of progress."""
        sent = counts(self.state)
        with suppress(OSError):  # the coordinator is gone
            while True:
                sleep(EVERY)
                now = counts(self.state)
                if now != sent:
                    self.say("count")
                sent = now


def _end_with_parent() -> None:
    """End this process when the coordinator was killed, whatever is running."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
