"""Batches, from the items that make one to the pixels that the encoder takes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from mmx.cache.schema import MISSING, OK
from mmx.extract.stages.load import Loaded
from mmx.extract.stages.progress import Progress

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
class Pending:
    """A batch that is being made."""

    first: int  # its first row, numbered in the block
    inputs: list[Inputs]
    items: list[Loaded | None] = field(init=False)  # without their pixels
    buffer: np.ndarray | None = None  # (batch size, s, s, 3) uint8, where the pixels go
    slot: int = -1  # of the buffer, where processes share it
    chunks: list[Future[None]] = field(default_factory=list)  # that threads make
    left: int = 0  # items that processes have not made yet

    def __post_init__(self) -> None:
        self.items = [None] * len(self.inputs)

    def put(self, place: int, item: Loaded, state: Progress) -> None:
        """An item is ready, and its pixels are in the buffer."""
        self.items[place] = item
        if item.image_status not in (OK, MISSING):
            state.example(item.image_status, item.detail)

    def finished(self, give_back: Callable[[Pending], None]) -> Batch:
        """The batch, once all its items are ready; ``give_back`` takes its buffer again."""
        items = [item for item in self.items if item is not None]
        good = [place for place, item in enumerate(items) if item.image_status == OK]
        pixels = None
        if self.buffer is not None and good:
            whole = len(good) == len(items)
            pixels = self.buffer[: len(good)] if whole else self.buffer[good]
        rows = [self.first + place for place in good]
        return Batch(self.first, items, rows, pixels, lambda: give_back(self))


class Maker(Protocol):
    """Makes batches: threads of this process, or other processes. Used by one thread."""

    depth: int  # batches that may be under way or wait for the encoder

    def submit(self, pending: Pending) -> None:
        """Begin with a batch."""
        ...

    def wait(self, pending: Pending) -> None:
        """Until all its items are ready. Raises what went wrong."""
        ...

    def give_back(self, pending: Pending) -> None:
        """Its pixels have been encoded; called from any thread."""
        ...
