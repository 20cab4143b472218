"""Read and decode ahead of the encoder: blocks of items in, batches of pixels out, in order.

Threads of this process do it, or, where Python's lock keeps those from feeding the encoder, other
processes, which may take over at any batch: its pixels are the same. Both run ahead by some
batches, across the borders of blocks. A batch is ``batch_size`` consecutive rows of one block;
rows without a picture make it smaller.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np

from mmx.extract.stages.batches import Allocate, Batch, Inputs, Maker, Pending
from mmx.extract.stages.load import Loader
from mmx.extract.stages.progress import Progress
from mmx.extract.stages.takeover import Takeover
from mmx.extract.stages.threads import Threads


class Feeder:
    """Batches of many blocks (a context manager that ends its threads)."""

    def __init__(
        self,
        loader: Loader,
        blocks: Iterable[list[Inputs]],
        batch_size: int,
        decode_threads: int,
        state: Progress,
        *,
        allocate: Allocate | None = None,
        takeover: Takeover | None = None,
    ) -> None:
        """``takeover`` says from which batch on processes decode; None: none does."""
        self.state, self.takeover = state, takeover
        allocate = allocate or (lambda shape: np.empty(shape, dtype=np.uint8))
        self._threads = Threads(loader, batch_size, decode_threads, state, allocate)
        self._work = _cut(blocks, batch_size)

    def __enter__(self) -> Feeder:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._threads.end(interrupted=kind is not None and not issubclass(kind, Exception))

    def __iter__(self) -> Iterator[Batch]:
        """All batches in order. An error of a thread or a process is raised here."""
        queue: deque[tuple[Maker, Pending]] = deque()
        for first, inputs in self._work:
            maker, pending = self._maker(inputs), Pending(first, inputs)
            maker.submit(pending)
            queue.append((maker, pending))
            while len(queue) >= maker.depth:
                yield self._finished(*queue.popleft())
        while queue:
            yield self._finished(*queue.popleft())

    def _maker(self, inputs: list[Inputs]) -> Maker:
        """Who makes the next batch, of these."""
        if self.takeover is None:
            return self._threads
        pictures = any(image is not None for image, _ in inputs)
        return self.takeover.maker(self._threads.reading, pictures) or self._threads

    def _finished(self, maker: Maker, pending: Pending) -> Batch:
        with self.state.waiting("decoding"):
            maker.wait(pending)
        return pending.finished(maker.give_back)


def _cut(blocks: Iterable[list[Inputs]], size: int) -> Iterator[tuple[int, list[Inputs]]]:
    for block in blocks:
        for first in range(0, len(block), size):
            yield first, block[first : first + size]
