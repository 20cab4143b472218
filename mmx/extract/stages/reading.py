"""Items are read by threads of this process, for other threads that decode, or for processes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from time import perf_counter
from typing import Any

from mmx.extract.stages.batches import Inputs
from mmx.extract.stages.load import Loader, Read
from mmx.extract.stages.progress import Progress
from mmx.extract.stages.read import Readers

LOOK_AHEAD = 3  # batches that may wait for the encoder, besides those being read and decoded
FAR = 1024  # items that are read ahead where they come from several hosts
FAR_BYTES = 256 << 20  # bytes of pixels that may wait so
HELD = 256 << 20  # bytes read and not yet decoded; above this, reading waits


class Reading:
    """Threads that read ahead, in bounded memory.

    One for all who decode in a job, so that its bounds are those of the job.
    """

    def __init__(self, loader: Loader, state: Progress) -> None:
        self.loader, self.state = loader, state
        self._readers = Readers(loader.source)
        self.count = self._readers.count
        state.threads["reading"] = self.count
        self._room, self._held = threading.Condition(), 0

    def end(self, interrupted: bool = False) -> None:
        """Stop them; what is being read is not waited for if ``interrupted``."""
        self._readers.stop()
        with self._room:
            self._held = -1  # no thread waits for room any more
            self._room.notify_all()
        self._readers.join(interrupted)

    def depth(self, items: int, batch_size: int) -> int:
        """Batches that may be under way where ``items`` are read and decoded at a time."""
        depth = LOOK_AHEAD + -(-items // batch_size)
        return max(depth, self._far() // batch_size) if self.loader.source.has_hosts else depth

    def _far(self) -> int:
        """Items to read ahead from several hosts."""
        rule = self.loader.image_rule
        return FAR if rule is None else min(FAR, FAR_BYTES // (3 * rule.size**2))

    def cut(self, inputs: list[Inputs], size: int) -> Iterator[tuple[int, list[Inputs]]]:
        """What one thread reads: ``size`` items in a row; one where it may wait for a host."""
        size = 1 if self.loader.source.has_hosts else size
        for start in range(0, len(inputs), size):
            yield start, inputs[start : start + size]

    def submit(self, inputs: list[Inputs], run: Callable[..., Any], *given: Any) -> Future[Any]:
        """``run(*given)``, which reads the ``inputs``, in one of the threads."""
        return self._readers.submit(inputs[0][0], run, *given)

    def read(self, inputs: list[Inputs], enough: float = float("inf")) -> list[Read]:
        """Read items in a row, once there is room; of more than ``enough`` bytes only the first.

        Their bytes are held until ``let_go``.
        """
        with self._room:
            self._room.wait_for(lambda: self._held < HELD)
        found: list[Read] = []
        size = 0
        for pair in inputs:  # one by one: each counts as progress, see workers.pending.SILENCE
            if size > enough:
                break
            start = perf_counter()
            found.append(self.loader.read(*pair))
            self.state.worked("reading", 1, perf_counter() - start)
            size += len(found[-1].data or b"")
        self._hold(size)
        return found

    def let_go(self, items: Iterable[Read]) -> None:
        """Their bytes are not needed any more."""
        self._hold(-sum(len(item.data or b"") for item in items))

    def _hold(self, size: int) -> None:
        with self._room:
            if self._held >= 0:
                self._held += size
                self._room.notify_all()
