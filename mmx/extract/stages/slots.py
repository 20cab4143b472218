"""Memory for batches of pixels that this process shares with those that decode for it.

An unnamed file in memory: nothing of it is in /dev/shm, whose size containers limit, and it ends
with the last process that has it open, however that ends.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from math import prod

import numpy as np

from mmx.errors import EncoderError

Shape = tuple[int, ...]


class Slots:
    """Arrays of one shape, numbered, made as they are needed (a context manager)."""

    def __init__(
        self, shape: Shape, page_locked: Callable[[np.ndarray], AbstractContextManager[None]]
    ) -> None:
        """``page_locked`` is entered with each array, and left at the end.

        Raises EncoderError where the system has no such memory.
        """
        self.shape, self._page_locked = shape, page_locked
        with refused("no memory can be shared with decoding processes"):
            self.file = inherited(os.memfd_create("mmx-pixels"))
        self._arrays: list[np.ndarray] = []
        self._free: deque[int] = deque()
        self._locked = ExitStack()

    def __enter__(self) -> Slots:
        return self

    def __exit__(self, *_: object) -> None:
        self._locked.close()
        os.close(self.file)

    def take(self) -> tuple[int, np.ndarray]:
        """The number of a free array, and the array; called from one thread."""
        if not self._free:
            self._add()
        number = self._free.pop()
        return number, self._arrays[number]

    def give_back(self, number: int) -> None:
        """The array is free again; called from any thread."""
        self._free.append(number)

    def reserve(self, count: int) -> None:
        """Have ``count`` arrays; memory is taken when they are written. Raises EncoderError."""
        while len(self._arrays) < count:
            self._add()

    def _add(self) -> None:
        number = len(self._arrays)
        with refused("no memory can be shared with decoding processes"):
            os.ftruncate(self.file, (number + 1) * stride(self.shape))
            self._arrays.append(mapped(self.file, number, self.shape))
        self._locked.enter_context(self._page_locked(self._arrays[-1]))
        self._free.append(number)


@contextmanager
def refused(what: str) -> Iterator[None]:
    """Raise EncoderError for what the system refuses: open files, processes, memory."""
    try:
        yield
    except OSError as error:
        raise EncoderError(
            f"{what} ({error.strerror}); --decode-processes 0 does without them"
        ) from error


def inherited(file: int) -> int:
    """A copy of the file's number that is not one of the standard ones; the given one is closed.

    Where the job has no standard input or output, new files get their numbers, and a child process
    would have its own in their place.
    """
    try:
        return fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(file)


def stride(shape: Shape) -> int:
    """Bytes of a slot: whole pages."""
    return -(-prod(shape) // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY


def mapped(file: int, number: int, shape: Shape) -> np.ndarray:
    """A slot of the file, uint8 of ``shape``, in this process's memory."""
    memory = mmap.mmap(file, stride(shape), offset=number * stride(shape))
    return np.frombuffer(memory, np.uint8, prod(shape)).reshape(shape)
