"""Batches made by threads of this process.

    readers   bytes from the source               (these wait for a disk or a network)
    decoders  bytes to pixels, into a batch's own array

Both run ahead by some batches; further where pictures come from several hosts, so that a slow
host does not keep the others waiting.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np

from mmx.extract.stages.batches import Allocate, Pending
from mmx.extract.stages.load import Loader, Read
from mmx.extract.stages.progress import Progress
from mmx.extract.stages.reading import Reading

CHUNK = (4, 16)  # items that one thread takes, at least (handing them over costs time) and at most
LIST = 32  # items that it takes where a device decodes them together: one call for all of them


class Threads:
    """Threads that read and threads that decode (a Maker)."""

    def __init__(
        self, loader: Loader, batch_size: int, count: int, state: Progress, allocate: Allocate
    ) -> None:
        """``count`` threads decode; the source says how many read."""
        self.loader, self.batch_size, self.state = loader, batch_size, state
        self.allocate = allocate
        self.reading = Reading(loader, state)
        least, most = (LIST, LIST) if loader.jpegs is not None else CHUNK
        self.chunk = min(most, max(least, batch_size // (2 * count)), batch_size)
        self.depth = self.reading.depth(max(count, self.reading.count) * self.chunk, batch_size)
        state.threads["decoding"] = count
        self._free: list[np.ndarray] = []
        self._lock = threading.Lock()
        self._decoders = ThreadPoolExecutor(count, "decode")

    def end(self, interrupted: bool = False) -> None:
        """Stop them; what is being read is not waited for if ``interrupted``."""
        self._decoders.shutdown(wait=False, cancel_futures=True)
        self.reading.end(interrupted)
        self._decoders.shutdown(wait=True)

    def submit(self, pending: Pending) -> None:
        """See Maker."""
        for start, chunk in self.reading.cut(pending.inputs, self.chunk):
            read = self.reading.submit(chunk, self.reading.read, chunk)
            done: Future[None] = Future()
            pending.chunks.append(done)
            read.add_done_callback(partial(self._decode_later, start, pending, done))

    def wait(self, pending: Pending) -> None:
        """See Maker."""
        for chunk in pending.chunks:
            chunk.result()

    def give_back(self, pending: Pending) -> None:
        """See Maker."""
        if pending.buffer is not None:
            with self._lock:
                self._free.append(pending.buffer)

    def _decode_later(
        self, start: int, pending: Pending, done: Future[None], read: Future[list[Read]]
    ) -> None:
        """Decode what has been read; called by the thread that has read it."""
        try:
            self._decoders.submit(self._decode, read, start, pending, done)
        except RuntimeError as error:  # the pool is shut down
            done.set_exception(error)

    def _decode(
        self, read: Future[list[Read]], start: int, pending: Pending, done: Future[None]
    ) -> None:
        try:
            found = read.result()
            try:
                with self.state.working("decoding", len(found)):
                    self._into(pending, start, found)
            finally:
                self.reading.let_go(found)
            done.set_result(None)
        except BaseException as error:
            done.set_exception(error)

    def _into(self, pending: Pending, start: int, found: list[Read]) -> None:
        buffer = self._buffer_of(pending)
        for place, loaded in enumerate(self.loader.decode_many(found), start):
            if loaded.pixels is not None and buffer is not None:
                buffer[place], loaded.pixels = loaded.pixels, None
            pending.put(place, loaded, self.state)

    def _buffer_of(self, pending: Pending) -> np.ndarray | None:
        """Memory for a batch; that of an encoded one is used again, which saves page faults."""
        rule = self.loader.image_rule
        if rule is None:
            return None
        with self._lock:
            if pending.buffer is None and self._free:
                pending.buffer = self._free.pop()
            elif pending.buffer is None:
                pending.buffer = self.allocate((self.batch_size, rule.size, rule.size, 3))
            return pending.buffer
