"""Batches made by threads of this process.

    readers   bytes from the source               (these wait for a disk or a network)
    decoders  bytes to pixels, into a batch's own array

Both run ahead by at most ``LOOK_AHEAD`` batches; further (``FAR``) where pictures come from
several hosts, so that a slow host does not keep the others waiting.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from time import perf_counter

import numpy as np

from mmx.extract.stages.batches import Allocate, Inputs, Pending
from mmx.extract.stages.load import Loader, Read
from mmx.extract.stages.progress import Progress
from mmx.extract.stages.read import Readers

LOOK_AHEAD = 3  # batches that may wait for the encoder, besides those being decoded
FAR = 1024  # items that are read ahead where they come from several hosts
FAR_BYTES = 256 << 20  # bytes of pixels that may wait so
HELD = 256 << 20  # bytes read and not yet decoded; above this, reading waits
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
        self._readers = Readers(loader.source)
        readers = self._readers.count
        least, most = (LIST, LIST) if loader.jpegs is not None else CHUNK
        self.chunk = min(most, max(least, batch_size // (2 * count)), batch_size)
        self.depth = LOOK_AHEAD + -(-max(count, readers) * self.chunk // batch_size)
        if loader.source.has_hosts:
            self.depth = max(self.depth, self._far() // batch_size)
        state.threads |= {"reading": readers, "decoding": count}
        self._free: list[np.ndarray] = []
        self._lock = threading.Lock()
        self._room, self._held = threading.Condition(), 0
        self._decoders = ThreadPoolExecutor(count, "decode")

    def _far(self) -> int:
        """Items to read ahead from several hosts."""
        rule = self.loader.image_rule
        return FAR if rule is None else min(FAR, FAR_BYTES // (3 * rule.size**2))

    def end(self, interrupted: bool = False) -> None:
        """Stop them; what is being read is not waited for if ``interrupted``."""
        self._readers.stop()
        self._decoders.shutdown(wait=False, cancel_futures=True)
        with self._room:
            self._held = -1  # no thread waits for room any more
            self._room.notify_all()
        self._readers.join(interrupted)
        self._decoders.shutdown(wait=True)

    def submit(self, pending: Pending) -> None:
        """See Maker."""
        for start, chunk in self._chunks(pending.inputs):
            read = self._readers.submit(chunk[0][0], self._read, chunk)
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

    def _chunks(self, inputs: list[Inputs]) -> Iterator[tuple[int, list[Inputs]]]:
        """What one thread reads: some items in a row; one where it may have to wait for a host."""
        size = self.chunk if not self.loader.source.has_hosts else 1
        for start in range(0, len(inputs), size):
            yield start, inputs[start : start + size]

    def _read(self, inputs: list[Inputs]) -> list[Read]:
        with self._room:
            self._room.wait_for(lambda: self._held < HELD)
        found = []
        for pair in inputs:  # one by one: each counts as progress, see workers.pending.SILENCE
            start = perf_counter()
            found.append(self.loader.read(*pair))
            self.state.worked("reading", 1, perf_counter() - start)
        self._hold(found, 1)
        return found

    def _hold(self, items: list[Read], sign: int) -> None:
        """Count the bytes of pictures that wait to be decoded."""
        with self._room:
            if self._held >= 0:
                self._held += sign * sum(len(item.data or b"") for item in items)
                self._room.notify_all()

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
                self._hold(found, -1)
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
