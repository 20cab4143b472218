"""Batches made by other processes, beside Python's lock (mmx.extract.stages.decoder)."""

from __future__ import annotations

import os
import pickle
import selectors
import signal
import socket
import struct
import subprocess
import sys
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
from mmx.extract.stages.decoder import PROGRAM, Done, Setup
from mmx.extract.stages.load import Loader
from mmx.extract.stages.progress import Progress
from mmx.extract.stages.slots import Slots
from mmx.extract.stages.threads import LOOK_AHEAD

CHUNK = 32  # items of a task
AHEAD = 2  # tasks that a decoder has, the one it works on included
LIMIT = 3  # decoders in a row that end without a task
SILENCE = 600.0  # s in which a decoder must read a picture; less than mmx.extract.workers' own
TICK = 1.0  # s between two looks for decoders that are silent
PATIENCE = 1.0  # s that the nursery may take to end; it may be importing


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
        """Starts them; ``ready`` says when they have come."""
        self.batch_size, self.count, self.state, self.slots = batch_size, count, state, slots
        rule = loader.image_rule
        assert rule is not None
        self.chunk = min(CHUNK, batch_size)
        self.depth = LOOK_AHEAD + -(-AHEAD * count * self.chunk // batch_size)
        self._nursery = Nursery(Setup(loader.source, rule, loader.takes_text, slots.shape), slots)
        self._processes: list[_Process] = []
        self._waiting: deque[Chunk] = deque()
        self._begun, self._lost_in_a_row = False, 0
        self._selector = selectors.DefaultSelector()
        for _ in range(count):
            self._spawn()

    def __enter__(self) -> Decoders:
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


class Nursery:
    """The process that decoders are forks of; started again where it has died."""

    def __init__(self, setup: Setup, slots: Slots) -> None:
        self._setup, self._memory = pickle.dumps(setup), slots.file
        self._program: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def decoder(self) -> Connection:
        """A line to a new decoder, which will say that it is ready."""
        ours, theirs = socket.socketpair()
        forever = struct.pack("ll", int(SILENCE), 0)  # a stopped decoder must not stop us
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, forever)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, forever)
        with theirs:
            try:
                self._hand(theirs)
            except OSError:  # it has died
                self.end()
                self._hand(theirs)
        return Connection(ours.detach())

    def end(self) -> None:
        """End it; it ends by itself when its control does."""
        if self._program is None or self._control is None:
            return
        self._control.close()
        try:
            self._program.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._program.kill()
            self._program.wait()
        self._program = self._control = None

    def _hand(self, line: socket.socket) -> None:
        if self._control is None:
            self._start()
        assert self._control is not None
        socket.send_fds(self._control, [b"+"], [line.fileno()])

    def _start(self) -> None:
        self._control, theirs = socket.socketpair()
        numbers = (theirs.fileno(), self._memory)
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # Ctrl-C is for the job
        try:
            self._program = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, *map(str, numbers), *sys.path],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=numbers,
                env=os.environ | one,
            )  # fmt: skip
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
        assert self._program.stdin is not None
        with suppress(OSError), self._program.stdin as given:  # it has died: its lines will end
            given.write(self._setup)


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
