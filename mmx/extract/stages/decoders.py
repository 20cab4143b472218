"""Batches made by other processes, beside Python's lock (mmx.extract.stages.decoder)."""

from __future__ import annotations

import os
import pickle
import selectors
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any

from mmx.errors import EncoderError
from mmx.extract.pictures.images import ImageRule
from mmx.extract.sources.source import Source
from mmx.extract.stages.batches import Pending
from mmx.extract.stages.decoder import Done, Setup, Task
from mmx.extract.stages.handing import Chunk, Handing
from mmx.extract.stages.load import Loader
from mmx.extract.stages.nursery import Nursery
from mmx.extract.stages.progress import Progress
from mmx.extract.stages.reading import Reading
from mmx.extract.stages.slots import Slots

CHUNK = 32  # items of a task
AHEAD = 2  # tasks that a decoder has, the one it works on included
LIMIT = 3  # decoders in a row that end without a task
SILENCE = 600.0  # s in which a decoder must read a picture; less than mmx.extract.workers' own
TICK = 1.0  # s between two looks for decoders that are silent


@dataclass
class _Process:
    """A decoder and what it has been given."""

    line: Connection
    id: int | None = None  # of the process; None: it is not ready
    chunks: deque[Chunk] = field(default_factory=deque)  # it works on the first
    silent: float = 0.0  # s without a word, while it had work and we were listening


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
        self._nursery = Nursery(
            Setup(source, rule, loader.takes_text, slots.shape), slots.file, SILENCE
        )
        self._processes: list[_Process] = []
        self._waiting: deque[Chunk] = deque()
        self._begun, self._lost_in_a_row = False, 0
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Decoders:
        try:
            with _refused():
                self._selector.register(self._handing.begin(), selectors.EVENT_READ)
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
        self._handing.end()
        self._nursery.end()

    def ready(self) -> bool:
        """Whether there is one. Raises EncoderError when they end before that."""
        self._listen(0)
        return any(process.id is not None for process in self._processes)

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
        start = monotonic()
        heard = [key.data for key, _ in self._selector.select(timeout) if key.data is not None]
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
            for stage, seconds in zip(("reading", "decoding"), body, strict=True):
                self.state.worked(stage, 0, seconds)
        if kind == "done":
            self._finish(process.chunks.popleft(), body)

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
            free = [p for p in self._processes if p.id is not None and len(p.chunks) < AHEAD]
            if not free:
                return
            process, chunk = min(free, key=lambda p: len(p.chunks)), self._waiting.popleft()
            process.chunks.append(chunk)
            try:
                process.line.send_bytes(pickle.dumps(_task(chunk), pickle.HIGHEST_PROTOCOL))
            except BlockingIOError:  # stopped, before it had taken all of a large task
                self._give_up(process)
            except OSError:
                self._lost(process, "died")

    def _kill_silent(self, waited: float, heard: Sequence[_Process]) -> None:
        """End decoders silent for too long; time in which we were stopped does not count."""
        for process in list(self._processes):
            busy = process.chunks or process.id is None
            process.silent = process.silent + waited if busy and process not in heard else 0.0
            if process.silent > SILENCE:
                self._give_up(process)

    def _give_up(self, process: _Process) -> None:
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
            chunks[:1] = chunks[0].singly()
        self._waiting.extendleft(reversed(chunks))
        if self._lost_in_a_row == LIMIT:
            raise EncoderError(
                f"{LIMIT} decoding processes {how} before they had decoded a picture; "
                "--decode-processes 0 does without them"
            )
        self._spawn()

    def _spawn(self) -> None:
        with _refused():
            process = _Process(self._nursery.decoder())
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


@contextmanager
def _refused() -> Iterator[None]:
    """Raise EncoderError for what the system refuses: open files, processes."""
    try:
        yield
    except OSError as error:
        raise EncoderError(
            f"a decoding process cannot be started ({error.strerror}); "
            "--decode-processes 0 does without them"
        ) from error


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
