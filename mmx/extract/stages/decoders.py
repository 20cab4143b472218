"""Batches made by other processes, beside Python's lock (mmx.extract.stages.decoder)."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass

from mmx.errors import EncoderError
from mmx.extract.pictures.images import ImageRule
from mmx.extract.stages.batches import Inputs, Pending
from mmx.extract.stages.decoder import Done, Setup
from mmx.extract.stages.load import Loader
from mmx.extract.stages.pool import TICK, Fork, ForkPool
from mmx.extract.stages.progress import Progress
from mmx.extract.stages.slots import Slots
from mmx.extract.stages.threads import LOOK_AHEAD

CHUNK = 32  # items of a task
AHEAD = 2  # tasks that a decoder has, the one it works on included
LIMIT = 3  # decoders in a row that end without a task
SILENCE = 600.0  # s in which a decoder must read a picture; less than mmx.extract.workers' own


@dataclass
class Chunk:
    """Some items of a batch, in a row."""

    pending: Pending
    start: int  # place of the first
    inputs: list[Inputs]
    again: bool = False  # a decoder was lost over it


class Decoders:
    """Processes that read and decode (a Maker, and a context manager that ends them)."""

    def __init__(
        self, loader: Loader, batch_size: int, count: int, state: Progress, slots: Slots
    ) -> None:
        """Entering it starts them; ``ready`` says when they have come."""
        self.batch_size, self.count, self.state, self.slots = batch_size, count, state, slots
        rule = loader.image_rule
        assert rule is not None
        self.chunk = min(CHUNK, batch_size)
        self.depth = LOOK_AHEAD + -(-AHEAD * count * self.chunk // batch_size)
        setup = Setup(loader.source, rule, loader.takes_text, slots.shape)
        self._forks: ForkPool[Chunk] = ForkPool(setup, slots.file, SILENCE)
        self._waiting: deque[Chunk] = deque()
        self._begun, self._lost_in_a_row = False, 0

    def __enter__(self) -> Decoders:
        try:
            for _ in range(self.count):
                self._spawn()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._forks.end()

    def ready(self) -> bool:
        """Whether there is one. Raises EncoderError when they end before that."""
        self._listen(0)
        return bool(self._forks.ready)

    def submit(self, pending: Pending) -> None:
        """See Maker."""
        if not self._begun:
            self._begun = True
            for stage in ("reading", "decoding"):
                self.state.staff(stage, self.count)
        pending.slot, pending.buffer = self.slots.take()
        for start in range(0, len(pending.inputs), self.chunk):
            self._waiting.append(Chunk(pending, start, pending.inputs[start : start + self.chunk]))
            pending.left += 1
        self._give()

    def wait(self, pending: Pending) -> None:
        """See Maker. Raises EncoderError where one item costs two decoders."""
        while pending.left:
            self._listen(TICK)

    def give_back(self, pending: Pending) -> None:
        """See Maker."""
        self.slots.give_back(pending.slot)

    def _listen(self, timeout: float) -> None:
        for fork, kind, body in self._forks.listen(timeout):
            if kind == "error":
                raise body
            if kind == "alive":
                self._worked(0, *body)
            if kind == "done":
                self._finish(fork.tasks.popleft(), body)
            if kind == "died":
                self._lost(fork, kind)
            if kind == "silent":
                still = f"made no progress for {SILENCE:.0f} s"
                self.state.remark(f"a decoding process {still} and was replaced")
                self._lost(fork, still)
        self._give()

    def _finish(self, chunk: Chunk, done: Done) -> None:
        self._lost_in_a_row = 0
        for place, item in enumerate(done.items(chunk.inputs), chunk.start):
            chunk.pending.put(place, item, self.state)
        self._worked(len(chunk.inputs), done.reading, done.decoding)
        chunk.pending.left -= 1

    def _worked(self, items: int, reading: float, decoding: float) -> None:
        self.state.worked("reading", items, reading)
        self.state.worked("decoding", items, decoding)

    def _give(self) -> None:
        """Give what waits to those who have least; one that is not ready yet gets nothing."""
        while self._waiting:
            free = [fork for fork in self._forks.ready if len(fork.tasks) < AHEAD]
            if not free:
                return
            fork, chunk = min(free, key=lambda fork: len(fork.tasks)), self._waiting.popleft()
            task = (chunk.pending.slot, chunk.start, chunk.inputs)
            if not self._forks.give(fork, chunk, task):
                self._lost(fork, "died")

    def _lost(self, fork: Fork[Chunk], how: str) -> None:
        """Replace a decoder; what it had is done again, what it worked on item by item."""
        self._forks.kill(fork)
        chunks = list(fork.tasks)
        if not chunks:
            self._lost_in_a_row += 1
        elif chunks[0].again:
            raise EncoderError(_blamed(chunks[0], how))
        else:
            chunks[:1] = _singly(chunks[0])
        self._waiting.extendleft(reversed(chunks))
        if self._lost_in_a_row == LIMIT:
            raise EncoderError(
                f"{LIMIT} decoding processes {how} before they had decoded a picture; "
                "--decode-processes 0 does without them"
            )
        self._spawn()

    def _spawn(self) -> None:
        try:
            self._forks.spawn()
        except OSError as error:
            raise EncoderError(
                f"a decoding process cannot be started ({error.strerror}); "
                "--decode-processes 0 does without them"
            ) from error


def _singly(chunk: Chunk) -> list[Chunk]:
    """The items of a chunk as chunks of their own."""
    chunk.pending.left += len(chunk.inputs) - 1
    return [
        Chunk(chunk.pending, place, [pair], again=True)
        for place, pair in enumerate(chunk.inputs, chunk.start)
    ]


def _blamed(chunk: Chunk, how: str) -> str:
    image = chunk.inputs[0][0] or "an item without a picture"
    return (
        f"2 decoding processes {how} over {image[:80]}; leave it out of --data if it is to blame, "
        "else --decode-processes 0 or fewer need less memory; the same command resumes"
    )


def obstacle(loader: Loader) -> str | None:
    """Why processes cannot read and decode for this loader; None where they can."""
    if not hasattr(os, "memfd_create"):
        return "decoding processes need Linux"
    if type(loader) is not Loader or type(loader.image_rule) is not ImageRule:
        return "the encoder takes no pictures"
    if loader.jpegs is not None:
        return "JPEGs are decoded on the GPU"
    if not loader.source.anywhere:
        return "pictures from a network, a table's rows or code of yours are read by threads"
    return None
