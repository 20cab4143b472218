"""Read and decode ahead of the encoder: blocks of items in, batches of pixels out, in order.

    readers   bytes from the source               (these wait for a disk or a network)
    decoders  bytes to pixels, into a batch's own array

Both run ahead by at most ``LOOK_AHEAD`` batches, across the borders of blocks; further (``FAR``)
where pictures come from several hosts, so that a slow host does not keep the others waiting. A
batch is ``batch_size`` consecutive rows of one block; rows without a picture make it smaller.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from mmx.cache.schema import MISSING, OK
from mmx.extract.stages.load import Loaded, Loader, Read
from mmx.extract.stages.progress import Progress
from mmx.extract.stages.read import Readers

LOOK_AHEAD = 3  # batches that may wait for the encoder, besides those being decoded
FAR = 1024  # items that are read ahead where they come from several hosts
FAR_BYTES = 256 << 20  # bytes of pixels that may wait so
HELD = 256 << 20  # bytes read and not yet decoded; above this, reading waits
CHUNK = 16  # items that one thread takes at most
LIST = 32  # items that it takes where a device decodes them together: one call for all of them

Inputs = tuple[str | None, str | None]  # image and text of an item
Allocate = Callable[[tuple[int, ...]], np.ndarray]  # a shape → an uint8 array


@dataclass
class Batch:
    """Rows ``first`` to ``first + len(items)`` of a block."""

    first: int
    items: list[Loaded]  # without their pixels
    rows: list[int]  # those that have a picture, numbered in the block
    pixels: np.ndarray | None  # (len(rows), s, s, 3) uint8; valid until ``release``
    release: Callable[[], None]  # call it when the pixels have been encoded


@dataclass
class _Pending:
    first: int
    items: list[Loaded | None]
    buffer: np.ndarray | None
    chunks: list[Future[None]]  # one for each run of items that a thread takes


class Feeder:
    """Batches of many blocks, made by threads (a context manager that ends them)."""

    def __init__(
        self,
        loader: Loader,
        blocks: Iterable[list[Inputs]],
        batch_size: int,
        decode_threads: int,
        state: Progress,
        *,
        allocate: Allocate | None = None,
    ) -> None:
        self.loader, self.batch_size, self.state = loader, batch_size, state
        self.allocate = allocate or (lambda shape: np.empty(shape, dtype=np.uint8))
        self._readers = Readers(loader.source)
        readers = self._readers.count
        self.chunk = min(CHUNK, max(1, batch_size // (2 * max(decode_threads, readers))))
        if loader.jpegs is not None:
            self.chunk = min(LIST, batch_size)
        self.depth = LOOK_AHEAD + -(-max(decode_threads, readers) * self.chunk // batch_size)
        if loader.source.has_hosts:
            self.depth = max(self.depth, self._far() // batch_size)
        state.threads |= {"reading": readers, "decoding": decode_threads}
        self._free: list[np.ndarray] = []
        self._lock = threading.Lock()
        self._room, self._held = threading.Condition(), 0
        self._decoders = ThreadPoolExecutor(decode_threads, "decode")
        self._work = _cut(blocks, batch_size)

    def _far(self) -> int:
        """Items to read ahead from several hosts."""
        rule = self.loader.image_rule
        return FAR if rule is None else min(FAR, FAR_BYTES // (3 * rule.size**2))

    def __enter__(self) -> Feeder:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._readers.stop()
        self._decoders.shutdown(wait=False, cancel_futures=True)
        with self._room:
            self._held = -1  # no thread waits for room any more
            self._room.notify_all()
        self._readers.join(interrupted=kind is not None and not issubclass(kind, Exception))
        self._decoders.shutdown(wait=True)

    def __iter__(self) -> Iterator[Batch]:
        """All batches in order. An error of a thread is raised here."""
        queue: deque[_Pending] = deque()
        for first, inputs in self._work:
            queue.append(self._submit(first, inputs))
            if len(queue) >= self.depth:
                yield self._finished(queue.popleft())
        while queue:
            yield self._finished(queue.popleft())

    def _submit(self, first: int, inputs: list[Inputs]) -> _Pending:
        pending = _Pending(first, [None] * len(inputs), None, [])
        for start, chunk in self._chunks(inputs):
            read = self._readers.submit(chunk[0][0], self._read, chunk)
            done: Future[None] = Future()
            pending.chunks.append(done)
            read.add_done_callback(partial(self._decode_later, start, pending, done))
        return pending

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
            with self.state.working("reading", 1):
                found.append(self.loader.read(*pair))
        self._hold(found, 1)
        return found

    def _hold(self, items: list[Read], sign: int) -> None:
        """Count the bytes of pictures that wait to be decoded."""
        with self._room:
            if self._held >= 0:
                self._held += sign * sum(len(item.data or b"") for item in items)
                self._room.notify_all()

    def _decode_later(
        self, start: int, pending: _Pending, done: Future[None], read: Future[list[Read]]
    ) -> None:
        """Decode what has been read; called by the thread that has read it."""
        try:
            self._decoders.submit(self._decode, read, start, pending, done)
        except RuntimeError as error:  # the pool is shut down
            done.set_exception(error)

    def _decode(
        self, read: Future[list[Read]], start: int, pending: _Pending, done: Future[None]
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

    def _into(self, pending: _Pending, start: int, found: list[Read]) -> None:
        buffer = self._buffer_of(pending)
        for place, loaded in enumerate(self.loader.decode_many(found), start):
            pending.items[place] = _moved(loaded, buffer, place)
            if loaded.image_status not in (OK, MISSING):
                self.state.example(loaded.image_status, loaded.detail)

    def _finished(self, pending: _Pending) -> Batch:
        with self.state.waiting("decoding"):
            for chunk in pending.chunks:
                chunk.result()
        items = [item for item in pending.items if item is not None]
        good = [place for place, item in enumerate(items) if item.pixels is not None]
        pixels = None
        if pending.buffer is not None and good:
            whole = len(good) == len(items)
            pixels = pending.buffer[: len(good)] if whole else pending.buffer[good]
        rows = [pending.first + place for place in good]
        bare = [replace(item, pixels=None) for item in items]
        return Batch(pending.first, bare, rows, pixels, lambda: self._give_back(pending.buffer))

    def _buffer_of(self, pending: _Pending) -> np.ndarray | None:
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

    def _give_back(self, buffer: np.ndarray | None) -> None:
        if buffer is not None:
            with self._lock:
                self._free.append(buffer)


def _cut(blocks: Iterable[list[Inputs]], size: int) -> Iterator[tuple[int, list[Inputs]]]:
    for block in blocks:
        for first in range(0, len(block), size):
            yield first, block[first : first + size]


def _moved(item: Loaded, buffer: np.ndarray | None, place: int) -> Loaded:
    """The item with its pixels in the batch's own array."""
    if item.pixels is None or buffer is None:
        return item
    buffer[place] = item.pixels
    return replace(item, pixels=buffer[place])
