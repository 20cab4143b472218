"""The pictures of the next batch, augmented by other processes while a step computes.

torchvision alters pictures one by one, which would hold a GPU up. What the processes have not
begun, because they are not ready yet or have died, this process does. Pixels depend on their seeds
alone, so they are the same whoever makes them.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mmx.bounds import check, whole
from mmx.errors import EncoderError, OptionError, first_line
from mmx.extract.encoders.hardware import Hardware
from mmx.extract.finetune.pairs import TOGETHER, AugmentedBatch, DrawnBatch
from mmx.extract.options import MOST_THREADS
from mmx.extract.stages.augmenter import Augmenting, AugmentTask
from mmx.extract.stages.pool import TICK, Fork, ForkPool
from mmx.extract.stages.run import cores
from mmx.extract.stages.slots import Slots

SILENCE = 60.0  # s of waiting for one task, after which its process is given up
LOST = {"died": "died", "silent": f"made no progress for {SILENCE:.0f} s"}
MOST = 8  # processes by default


def check_process_count(chosen: int | None, *, augment: bool) -> None:
    """Raise OptionError for a ``--decode-processes`` that cannot be."""
    if chosen is None:
        return
    check("--decode-processes ", chosen, whole(0, MOST_THREADS))
    if chosen and not hasattr(os, "memfd_create"):
        raise OptionError(f"--decode-processes {chosen}: such processes need Linux; drop it")
    if chosen and not augment:
        raise OptionError(f"--decode-processes {chosen}: nothing is augmented; drop --no-augment")


def process_count(chosen: int | None, device: torch.device, *, augment: bool) -> int:
    """How many processes augment for this one; ``chosen`` is ``--decode-processes``.

    By default, on a GPU, this process's share of the cores but one; on a CPU none, since the passes
    use all cores. Raises OptionError for what cannot be.
    """
    check_process_count(chosen, augment=augment)
    if chosen is not None:
        return min(chosen, cores())
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # processes that torchrun started
    spare = min(MOST, max(0, cores() // here - 1))
    return spare if augment and hasattr(os, "memfd_create") and device.type != "cpu" else 0


@dataclass
class Making:
    """A batch whose pictures are being augmented."""

    batch: AugmentedBatch
    slot: int
    pixels: np.ndarray  # (n, s, s, 3) uint8 of the slot; a shorter batch leaves its end
    left: int = 0  # shares that are not made yet


@dataclass
class Share:
    """Some pictures of a batch, in a row."""

    making: Making
    start: int
    stop: int

    @property
    def task(self) -> AugmentTask:
        """For another process."""
        making, places = self.making, self.making.batch.places[self.start : self.stop]
        rows, seeds = making.batch.rows[places], making.batch.seeds[places]
        return making.slot, self.start, rows.numpy(), seeds.numpy()

    def make(self) -> None:
        """Do it in this process."""
        part = slice(self.start, self.stop)
        self.making.pixels[part] = self.making.batch.augmented(part).numpy()


class Ahead:
    """Augments the pictures of batches before they are needed (a context manager)."""

    def __init__(self, count: int, hardware: Hardware, log: Callable[[str], None]) -> None:
        """``count`` processes start with the first batch; 0: this process does all."""
        self.count, self.hardware, self.log = count, hardware, log
        self._making: dict[AugmentedBatch, Making] = {}
        self._given: deque[tuple[DrawnBatch, torch.cuda.Event | None]] = deque()  # being read
        self._waiting: deque[Share] = deque()  # for a process to be ready, or for this one
        self._slots: Slots | None = None
        self._forks: ForkPool[Share] | None = None
        self._resources = ExitStack()

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.hardware.wait()  # until no copy to a GPU reads the shared memory
        finally:
            self._resources.close()

    def each(self, drawn: Sequence[DrawnBatch]) -> Generator[DrawnBatch]:
        """Each in turn with its pixels, which are valid until the next is taken.

        By then all that reads them must have been begun. A GPU may still be at it: while it
        computes a batch the next one is begun, and no third. Close it in the end.
        """
        try:
            for number, one in enumerate(drawn):
                for soon in drawn[number : number + 2]:
                    for batch in soon.augmented:
                        self._begin(batch)
                for batch in one.augmented:
                    self._finish(batch)
                try:
                    yield one
                finally:
                    if one.augmented:
                        self._given.append((one, self.hardware.mark()))
                self._forget_read(1)
        finally:
            self._forget_read(0)

    def _begin(self, batch: AugmentedBatch) -> None:
        """Have the processes augment a batch, if there are some."""
        if batch in self._making or not self.count:
            return
        try:
            slots = self._slots or self._start(batch)
            if slots is None or len(batch.places) > slots.shape[0]:
                return
            making = self._making[batch] = Making(batch, *slots.take())
        except (EncoderError, OSError) as error:
            self.log(f"pictures are augmented without other processes: {error}")
            self.count = 0
            return
        for start in range(0, len(batch.places), TOGETHER):
            self._waiting.append(Share(making, start, min(start + TOGETHER, len(batch.places))))
            making.left += 1
        self._listen(0)

    def _start(self, batch: AugmentedBatch) -> Slots | None:
        """Start the processes: the memory that they write; None: they cannot read the pictures."""
        images = batch.pairs.images
        if not isinstance(images, np.memmap):
            self.count = 0
            return None
        shape = (len(batch.places), *images.shape[1:])
        slots = self._resources.enter_context(Slots(shape, self.hardware.page_locked))
        work = Augmenting(Path(str(images.filename)), batch.augmentation, shape)
        self._forks = ForkPool(work, slots.file, SILENCE)
        self._resources.callback(self._forks.end)
        for _ in range(self.count):
            self._forks.spawn()
        self._slots = slots
        return slots

    def _finish(self, batch: AugmentedBatch) -> None:
        """Until all of a batch is augmented."""
        making = self._making.get(batch)
        if making is None:
            batch.augment()
            return
        while making.left:
            self._listen(0 if self._waiting else TICK)
            if self._waiting:  # no process is ready
                self._do(self._waiting.popleft())
        batch.pixels = torch.from_numpy(making.pixels[: len(batch.places)])

    def _forget_read(self, count: int) -> None:
        """Wait until the device has read all batches but the last ``count``, and forget them."""
        while self._given and (len(self._given) > count or self._given[0][1] is None):
            one, mark = self._given.popleft()
            if mark is not None:
                mark.synchronize()
            for batch in one.augmented:
                self._forget(batch)

    def _forget(self, batch: AugmentedBatch) -> None:
        batch.pixels = None
        making = self._making.pop(batch, None)
        if making is not None and self._slots is not None:
            self._slots.give_back(making.slot)

    def _do(self, share: Share) -> None:
        share.make()
        share.making.left -= 1

    def _listen(self, timeout: float) -> None:
        """Hear what has been made, and give what waits to the processes that have least."""
        assert self._forks is not None
        for fork, kind, body in self._forks.listen(timeout):
            if kind == "done":
                fork.tasks.popleft().making.left -= 1
            elif kind == "error":
                self._lost(fork, f"failed ({first_line(body)})")
            elif kind in LOST:
                self._lost(fork, LOST[kind])
        while self._waiting and (ready := self._forks.ready):
            fork, share = min(ready, key=lambda fork: len(fork.tasks)), self._waiting.popleft()
            if lost := self._forks.give(fork, share, share.task):
                self._lost(fork, LOST[lost])

    def _lost(self, fork: Fork[Share], how: str) -> None:
        """Do without a process: what it had is done here."""
        assert self._forks is not None
        self._forks.kill(fork)
        self.log(f"a process that augments pictures {how}; its work is done without it")
        for share in fork.tasks:
            self._do(share)
