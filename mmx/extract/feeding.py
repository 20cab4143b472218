"""Read and decode ahead of the encoder: blocks of items in, batches of pixels out, in order.

    readers   bytes from the source               (few at a time wait for a disk or a network)
    decoders  bytes to pixels, into a batch's own array

Both run ahead by ``LOOK_AHEAD`` batches and no further, across the borders of blocks. A batch is
a run of ``batch_size`` rows of one block; rows without a picture leave it smaller.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from mmx.extract.inputs import Loaded, Loader, Read
from mmx.extract.progress import Progress

LOOK_AHEAD = 3  # batches that may wait for the encoder, besides those being decoded
READERS = 4  # threads that wait for the source
CHUNK = 16  # items that one thread takes at most
LIST = 32  # items that it takes where a device decodes them together: one call for all of them
POLITE = 10  # by how much decoding gives way to encoding on a CPU that does both (nice)

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
    parts: list[Future[None]]


class Feeder:
    """Batches of many blocks, made by threads (a context manager that ends them)."""

    def __init__(
        self,
        loader: Loader,
        blocks: Iterable[list[Inputs]],
        batch_size: int,
        workers: int,
        state: Progress,
        *,
        readers: int = READERS,
        allocate: Allocate | None = None,
        polite: bool = False,
    ) -> None:
        self.loader, self.batch_size, self.state = loader, batch_size, state
        self.allocate = allocate or (lambda shape: np.empty(shape, dtype=np.uint8))
        self.chunk = min(CHUNK, max(1, batch_size // (2 * max(workers, readers))))
        if loader.jpegs is not None:
            self.chunk = min(LIST, batch_size)
        self.depth = LOOK_AHEAD + -(-max(workers, readers) * self.chunk // batch_size)
        state.threads |= {"reading": readers, "decoding": workers}
        self._free: list[np.ndarray] = []
        self._lock = threading.Lock()
        self._readers = ThreadPoolExecutor(readers, "read")
        self._decoders = ThreadPoolExecutor(workers, "decode", _give_way if polite else None)
        self._work = _cut(blocks, batch_size)

    def __enter__(self) -> Feeder:
        return self

    def __exit__(self, *_: object) -> None:
        for pool in (self._decoders, self._readers):
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in (self._decoders, self._readers):
            pool.shutdown(wait=True)

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
        pending = _Pending(first, [None] * len(inputs), self._buffer(), [])
        for start in range(0, len(inputs), self.chunk):
            read = self._readers.submit(self._read, inputs[start : start + self.chunk])
            pending.parts.append(self._decoders.submit(self._decode, read, start, pending))
        return pending

    def _read(self, inputs: list[Inputs]) -> list[Read]:
        found = []
        for pair in inputs:  # one by one: each that was read is a sign of life (mmx.extract.fleet)
            with self.state.working("reading", 1):
                found.append(self.loader.read(*pair))
        return found

    def _decode(self, read: Future[list[Read]], start: int, pending: _Pending) -> None:
        found = read.result()
        with self.state.working("decoding", len(found)):
            for place, loaded in enumerate(self.loader.decode_many(found), start):
                pending.items[place] = _moved(loaded, pending.buffer, place)

    def _finished(self, pending: _Pending) -> Batch:
        with self.state.waiting("decoding"):
            for part in pending.parts:
                part.result()
        items = [item for item in pending.items if item is not None]
        good = [place for place, item in enumerate(items) if item.pixels is not None]
        pixels = None
        if pending.buffer is not None and good:
            whole = len(good) == len(items)
            pixels = pending.buffer[: len(good)] if whole else pending.buffer[good]
        rows = [pending.first + place for place in good]
        bare = [replace(item, pixels=None) for item in items]
        return Batch(pending.first, bare, rows, pixels, lambda: self._give_back(pending.buffer))

    def _buffer(self) -> np.ndarray | None:
        """Memory for a batch, taken from an encoded one where there is one: no page faults."""
        rule = self.loader.image_rule
        if rule is None:
            return None
        with self._lock:
            if self._free:
                return self._free.pop()
        return self.allocate((self.batch_size, rule.size, rule.size, 3))

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


def _give_way() -> None:
    """Let the encoder's threads go first; where the system cannot do that, share equally."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), POLITE)
