"""Chunks of batches on their way to decoding processes.

Where only this process can read the source (the web, a table's rows), its threads do, and the bytes
go along with the task: over a socket, which the decoding process empties at once. They stay here
as well until the task is done, for another process if that one dies.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue

from mmx.extract.stages.batches import Inputs, Pending
from mmx.extract.stages.load import Read
from mmx.extract.stages.reading import Reading

RUN = 16  # items that a thread reads in a row
TASK = 4 << 20  # bytes of a task: it ends with the picture that exceeds them
LARGE = 16 << 20  # bytes of a picture that is decoded here, and not copied to a process


@dataclass
class Chunk:
    """Some items of a batch, in a row."""

    pending: Pending
    start: int  # place of the first
    inputs: list[Inputs]
    found: list[Read] | None = None  # what was read here; None: the process reads
    again: bool = False  # a process was lost over it

    def singly(self) -> list[Chunk]:
        """Its items as chunks of their own, to be done again."""
        return [
            Chunk(self.pending, self.start + n, [pair], self.found and [self.found[n]], again=True)
            for n, pair in enumerate(self.inputs)
        ]


class Handing:
    """Chunks that may be given out; used by the thread that does it."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.anywhere = reading.loader.source.anywhere  # the processes read
        self._ready: SimpleQueue[Chunk | BaseException] = SimpleQueue()
        self._event: int | None = None  # an eventfd
        self._lock = threading.Lock()  # a thread may come with its last picture after the end

    def begin(self) -> int:
        """The number of a file that is readable when more chunks may be given out.

        Raises OSError where the system has none.
        """
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        return self._event

    def end(self) -> None:
        """Nobody will take chunks any more."""
        with self._lock:
            if self._event is not None:
                os.close(self._event)
            self._event = None

    def ahead(self, tasks: int, size: int) -> int:
        """Items that are read and decoded at a time where ``tasks`` are given out."""
        return tasks * size + (0 if self.anywhere else self.reading.count * RUN)

    def submit(self, pending: Pending, size: int) -> None:
        """A batch, in chunks of ``size`` items at most."""
        for start, inputs in self.reading.cut(pending.inputs, size if self.anywhere else RUN):
            chunk = Chunk(pending, start, inputs)
            if self.anywhere:
                self._ready.put(chunk)
            else:
                self.reading.submit(inputs, self._read, chunk)

    def take(self) -> Iterator[Chunk]:
        """What may be given out. Raises what went wrong in reading."""
        if self._event is not None:
            with suppress(BlockingIOError):
                os.eventfd_read(self._event)
        with suppress(Empty):
            while True:
                chunk = self._ready.get_nowait()
                if isinstance(chunk, BaseException):
                    raise chunk
                yield chunk

    def let_go(self, chunk: Chunk) -> None:
        """It is done."""
        self.reading.let_go(chunk.found or ())

    def _read(self, chunk: Chunk) -> None:
        """Read it, in a thread; of large pictures it becomes several."""
        try:
            while chunk.inputs:
                found = self.reading.read(chunk.inputs, TASK)
                n = len(found)
                part, chunk = (
                    Chunk(chunk.pending, chunk.start, chunk.inputs[:n], found),
                    Chunk(chunk.pending, chunk.start + n, chunk.inputs[n:]),
                )
                self._decode_large(part)
                self._put(part)
        except BaseException as error:
            self._put(error)

    def _put(self, chunk: Chunk | BaseException) -> None:
        self._ready.put(chunk)
        with self._lock:
            if self._event is not None:
                os.eventfd_write(self._event, 1)

    def _decode_large(self, chunk: Chunk) -> None:
        """Very large pictures here: their pixels go where a process would have written them."""
        assert chunk.found is not None
        for n, item in enumerate(chunk.found):
            if len(item.data or b"") <= LARGE:
                continue
            with self.reading.state.working("decoding", 0):
                done = self.reading.loader.decode(item)
            if done.pixels is not None and chunk.pending.buffer is not None:
                chunk.pending.buffer[chunk.start + n] = done.pixels
            self.reading.let_go([item])
            chunk.found[n] = replace(
                item, image_status=done.image_status, data=None, detail=done.detail
            )
