"""Batches made by other processes, beside Python's lock (mmx.extract.stages.decoder)."""

from __future__ import annotations

import os
import pickle
import selectors
import signal
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any

from mmx.errors import EncoderError
from mmx.extract.pictures.images import ImageRule
from mmx.extract.stages.batches import Inputs, Pending
from mmx.extract.stages.decoder import Done, Setup
from mmx.extract.stages.load import Loader
from mmx.extract.stages.nursery import Nursery
from mmx.extract.stages.progress import Progress
from mmx.extract.stages.slots import Slots
from mmx.extract.stages.threads import LOOK_AHEAD

CHUNK = 32  # items of a task
AHEAD = 2  # tasks that a decoder has, the one it works on included
LIMIT = 3  # decoders in a row that end without a task
SILENCE = 600.0  # s in which a decoder must read a picture; less than mmx.extract.workers' own
TICK = 1.0  # s between two looks for decoders that are silent


@dataclass
class Chunk:
    """Some items of a batch, in a row."""

    pending: Pending
    start: int  # place of the first
    inputs: list[Inputs]
    again: bool = False  # a decoder was lost over it


@dataclass
class _Process:
    """A decoder and what it has been given."""

    line: Connection
    id: int | None = None  # of the process; None: it is not ready
    chunks: deque[Chunk] = field(default_factory=deque)  # it works on the first
    silent: float = 0.0  # s without a word, while it had work and we were listening


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
        self._nursery = Nursery(
            Setup(loader.source, rule, loader.takes_text, slots.shape), slots.file, SILENCE
        )
        self._processes: list[_Process] = []
        self._waiting: deque[Chunk] = deque()
        self._begun, self._lost_in_a_row = False, 0
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Decoders:
        try:
            for _ in range(self.count):
                self._spawn()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in list(self._processes):
            self._end(process)
        self._selector.close()
        self._nursery.end()

    def ready(self) -> bool:
        """Whether there is one. Raises EncoderError when they end before that."""
        self._listen(0)
        return any(process.id is not None for process in self._processes)

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
        start = monotonic()
        heard = [key.data for key, _ in self._selector.select(timeout)]
        self._kill_silent(min(monotonic() - start, TICK), heard)
        for process in heard:
            try:
                kind, body = pickle.loads(process.line.recv_bytes())
            except (EOFError, OSError) as error:
                if not isinstance(error, BlockingIOError):  # it has ended: its id is not its own
                    process.id = None
                self._lost(process, "died")
                continue
            self._take(process, kind, body)
        self._give()

    def _take(self, process: _Process, kind: str, body: Any) -> None:
        if kind == "error":
            raise body
        if kind == "ready":
            process.id = body
        if kind == "alive":
            self._worked(0, *body)
        if kind == "done":
            self._finish(process.chunks.popleft(), body)

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
            free = [p for p in self._processes if p.id is not None and len(p.chunks) < AHEAD]
            if not free:
                return
            process, chunk = min(free, key=lambda p: len(p.chunks)), self._waiting.popleft()
            process.chunks.append(chunk)
            task = (chunk.pending.slot, chunk.start, chunk.inputs)
            try:
                process.line.send_bytes(pickle.dumps(task, pickle.HIGHEST_PROTOCOL))
            except OSError:
                self._lost(process, "died")

    def _kill_silent(self, waited: float, heard: Sequence[_Process]) -> None:
        """End decoders silent for too long; time in which we were stopped does not count."""
        for process in list(self._processes):
            busy = process.chunks or process.id is None
            process.silent = process.silent + waited if busy and process not in heard else 0.0
            if process.silent > SILENCE:
                still = f"made no progress for {SILENCE:.0f} s"
                self.state.remark(f"a decoding process {still} and was replaced")
                self._lost(process, still)

    def _lost(self, process: _Process, how: str) -> None:
        """Replace a decoder; what it had is done again, what it worked on item by item."""
        self._end(process)
        chunks = list(process.chunks)
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
            process = _Process(self._nursery.decoder())
        except OSError as error:
            raise EncoderError(
                f"a decoding process cannot be started ({error.strerror}); "
                "--decode-processes 0 does without them"
            ) from error
        self._selector.register(process.line, selectors.EVENT_READ, process)
        self._processes.append(process)

    def _end(self, process: _Process) -> None:
        """Kill it, and forget it."""
        if process.id is not None:
            with suppress(ProcessLookupError):
                os.kill(process.id, signal.SIGKILL)
        self._selector.unregister(process.line)
        process.line.close()
        self._processes.remove(process)


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
