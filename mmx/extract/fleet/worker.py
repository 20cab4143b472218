"""A worker process of this machine: asks for blocks over a pipe and sends tables back.

worker → coordinator   ("next", None), ("part", (number, bytes)), ("count", None),
                       ("error", exception), each with what it has done so far
coordinator → worker   a piece as (number, bytes), or None: there is no more
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from time import monotonic
from typing import Any

import pyarrow as pa

from mmx.extract.fleet.orders import Orders, Recipe, Station, counts, packed, sendable, unpacked
from mmx.extract.planning import Piece
from mmx.extract.progress import Progress
from mmx.extract.running import cores

EVERY = 0.1  # s between two counts


def work(line: Connection, recipe: Recipe, orders: Orders, device: str, share: int) -> None:
    """Encode what comes over the ``line``, as one of ``share`` processes of this machine."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C: the coordinator ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    talk = Talk(line)
    try:
        station = Station(recipe, orders, device, max(1, cores() // share), share)
        station.run(talk.pieces(), talk.part, talk.state, talk.count)
    except BaseException as error:
        with suppress(OSError):  # nobody listens any more
            talk.say("error", sendable(error))


class Talk:
    """This end of the line. Parts are sent by the writing thread, the rest by the main one."""

    def __init__(self, line: Connection) -> None:
        self.line, self.state = line, Progress()
        self._lock, self._last = threading.Lock(), 0.0

    def say(self, kind: str, body: Any = None) -> None:
        """One message, with the counts."""
        with self._lock:
            self.line.send((kind, body, counts(self.state)))

    def pieces(self) -> Iterator[Piece]:
        """Pieces as they are asked for."""
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

    def count(self, _: Progress) -> None:
        """The counts now and then, for the live line."""
        if monotonic() - self._last > EVERY:
            self._last = monotonic()
            self.say("count")


def _end_with_parent() -> None:
    """A coordinator that was killed takes its workers along, whatever they are busy with."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
