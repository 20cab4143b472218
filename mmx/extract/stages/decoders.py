"""Batches made by other processes, beside Python's lock (mmx.extract.stages.decoder)."""

from __future__ import annotations

import os
from collections import deque

from mmx.errors import EncoderError
from mmx.extract.pictures.images import ImageRule
from mmx.extract.sources.source import Source
from mmx.extract.stages.batches import Pending
from mmx.extract.stages.decoder import Done, Setup, Task
from mmx.extract.stages.handing import Chunk, Handing
from mmx.extract.stages.load import Loader
from mmx.extract.stages.pool import TICK, Fork, ForkPool
from mmx.extract.stages.progress import Progress
from mmx.extract.stages.reading import Reading
from mmx.extract.stages.slots import Slots, refused

NOT_STARTED = "a decoding process cannot be started"
CHUNK = 32  # items of a task
AHEAD = 2  # tasks that a decoder has, the one it works on included
LIMIT = 3  # decoders in a row that end without a task
SILENCE = 600.0  # s in which a decoder must read a picture; less than mmx.extract.workers' own


class Decoders:
    """Processes that decode (a Maker, and a context manager that ends them).

    They read as well where the source can be read anywhere; else threads of this process do.
    """

    def __init__(
        self, reading: Reading, batch_size: int, count: int, state: Progress, slots: Slots
    ) -> None:
        """Entering it starts them; ``ready`` says when they have come."""
        self.batch_size, self.count, self.state, self.slots = batch_size, count, state, slots
        loader = reading.loader
        rule = loader.image_rule
        assert rule is not None
        self.chunk = min(CHUNK, batch_size)
        self._handing = Handing(reading)
        self.depth = reading.depth(self._handing.ahead(AHEAD * count, self.chunk), batch_size)
        source = loader.source if self._handing.anywhere else Source()
        setup = Setup(source, rule, loader.takes_text, slots.shape)
        with refused(NOT_STARTED):
            self._forks: ForkPool[Chunk] = ForkPool(setup, slots.file, SILENCE)
        self._waiting: deque[Chunk] = deque()
        self._begun, self._lost_in_a_row = False, 0

    def __enter__(self) -> Decoders:
        try:
            with refused(NOT_STARTED):
                self._forks.wake_by(self._handing.begin())
            for _ in range(self.count):
                self._spawn()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._forks.end()
        self._handing.end()

    def ready(self) -> bool:
        """Whether there is one. Raises EncoderError when they end before that."""
        self._listen(0)
        return bool(self._forks.ready)

    def submit(self, pending: Pending) -> None:
        """See Maker."""
        if not self._begun:
            self._begun = True
            for stage in ("reading", "decoding") if self._handing.anywhere else ("decoding",):
                self.state.staff(stage, self.count)
        pending.slot, pending.buffer = self.slots.take()
        pending.left = len(pending.inputs)
        self._handing.submit(pending, self.chunk)
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
                for stage, seconds in zip(("reading", "decoding"), body, strict=True):
                    self.state.worked(stage, 0, seconds)
            if kind == "done":
                self._finish(fork.tasks.popleft(), body)
            if kind in ("died", "silent"):
                self._gone(fork, kind)
        self._give()

    def _finish(self, chunk: Chunk, done: Done) -> None:
        self._lost_in_a_row = 0
        items = done.items(chunk.inputs) if chunk.found is None else done.joined(chunk.found)
        for place, item in enumerate(items, chunk.start):
            chunk.pending.put(place, item, self.state)
        self._handing.let_go(chunk)
        self.state.worked("reading", len(chunk.inputs) if chunk.found is None else 0, done.reading)
        self.state.worked("decoding", len(chunk.inputs), done.decoding)
        chunk.pending.left -= len(chunk.inputs)

    def _give(self) -> None:
        """Give what waits to those who have least; one that is not ready yet gets nothing."""
        self._waiting.extend(self._handing.take())
        while self._waiting:
            free = [fork for fork in self._forks.ready if len(fork.tasks) < AHEAD]
            if not free:
                return
            fork, chunk = min(free, key=lambda fork: len(fork.tasks)), self._waiting.popleft()
            if kind := self._forks.give(fork, chunk, _task(chunk)):
                self._gone(fork, kind)

    def _gone(self, fork: Fork[Chunk], kind: str) -> None:
        """Replace a decoder that has died or is silent; what it had is done again."""
        how = "died"
        if kind == "silent":
            how = f"made no progress for {SILENCE:.0f} s"
            self.state.remark(f"a decoding process {how} and was replaced")
        self._forks.kill(fork)
        self._waiting.extendleft(reversed(self._again(list(fork.tasks), how)))
        if self._lost_in_a_row == LIMIT:
            raise EncoderError(
                f"{LIMIT} decoding processes {how} before they had decoded a picture; "
                "--decode-processes 0 does without them"
            )
        self._spawn()

    def _again(self, chunks: list[Chunk], how: str) -> list[Chunk]:
        """The chunks of one that is gone: what it worked on item by item."""
        if not chunks:
            self._lost_in_a_row += 1
            return []
        if chunks[0].again:
            raise EncoderError(_blamed(chunks[0], how))
        return [*chunks[0].singly(), *chunks[1:]]

    def _spawn(self) -> None:
        with refused(NOT_STARTED):
            self._forks.spawn()


def _task(chunk: Chunk) -> Task:
    place = (chunk.pending.slot, chunk.start)
    if chunk.found is None:
        return *place, chunk.inputs, None
    return *place, [], [(item.image_status, item.data, item.detail) for item in chunk.found]


def _blamed(chunk: Chunk, how: str) -> str:
    image = chunk.inputs[0][0] or "an item without a picture"
    return (
        f"2 decoding processes {how} over {image[:80]}; leave it out of --data if it is to blame, "
        "else --decode-processes 0 or fewer need less memory; the same command resumes"
    )


def obstacle(loader: Loader) -> str | None:
    """Why processes cannot decode for this loader; None where they can."""
    if not hasattr(os, "memfd_create"):
        return "decoding processes need Linux"
    if type(loader) is not Loader or type(loader.image_rule) is not ImageRule:
        return "the encoder takes no pictures"
    if loader.jpegs is not None:
        return "JPEGs are decoded on the GPU"
    return None
