"""A process that decodes for another, and writes the pixels into memory they share.

It reads the pictures as well, if it can: files of this machine. Others are given with the task.

Such processes are forks of one, the nursery, which imports what decoding needs (torch, unless it
is exact) once for all of them and runs no thread. It is a program of its own and no fork of the
job's process, whose threads and GPU a fork would not survive; nor is it multiprocessing's, which
would import the user's script again.

job → nursery    on its standard input ``Setup``, then a connection for each decoder
job → decoder    ``Task``, several ahead
decoder → job    ("ready", its process id), then for each task in turn ("alive", s of reading and
                 of decoding) if it takes long, and ("done", ``Done``) or ("error", exception)
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from queue import SimpleQueue
from time import perf_counter
from typing import Any

from mmx.cache.schema import MISSING, OK
from mmx.extract.lean import torchvision
from mmx.extract.pictures.images import ImageRule, formats
from mmx.extract.sources.source import Source
from mmx.extract.stages.batches import Inputs
from mmx.extract.stages.load import Loaded, Loader, Read
from mmx.extract.stages.sending import sendable
from mmx.extract.stages.slots import Shape, mapped
from mmx.packages import own_this_process

EVERY = 5.0  # s after which a decoder says that it is at work
PROGRAM = (
    "import sys; sys.path[:] = sys.argv[3:]; from mmx.extract.stages.decoder import nursery; "
    "nursery(int(sys.argv[1]), int(sys.argv[2]))"
)

Picture = tuple[str, bytes | None, str]  # image status, encoded and detail of what the job has read
# Number of a slot, place of the first item in it, the items, their pictures if they have been read.
Task = tuple[int, int, list[Inputs], list[Picture] | None]


@dataclass(frozen=True)
class Setup:
    """What a decoder must know."""

    source: Source  # of what the job has not read
    rule: ImageRule
    takes_text: bool
    shape: Shape  # of a slot


@dataclass(slots=True)
class Done:
    """What became of a task: the facts of its items, column by column; pixels are in the slot."""

    image_status: list[str] = field(default_factory=list)
    text_status: list[str] = field(default_factory=list)
    text: list[str | None] = field(default_factory=list)  # None: as it was given
    hash: list[str] = field(default_factory=list)
    detail: list[str] = field(default_factory=list)  # of items that failed
    reading: float = 0.0  # s, since the last word
    decoding: float = 0.0

    def add(self, item: Loaded, given: str | None, reading: float, decoding: float) -> None:
        """One more item, whose text was ``given``, and the seconds that it took."""
        self.image_status.append(item.image_status)
        self.text_status.append(item.text_status)
        self.text.append(None if item.text == given else item.text)
        self.hash.append(item.hash)
        self.detail.append("" if item.image_status == OK else item.detail)
        self.reading += reading
        self.decoding += decoding

    def items(self, inputs: list[Inputs]) -> Iterator[Loaded]:
        """The items of the task, whose ``inputs`` these were."""
        for (_, given), image, status, text, digest, detail in zip(
            inputs, self.image_status, self.text_status, self.text, self.hash, self.detail,
            strict=True,
        ):  # fmt: skip
            shown = given if text is None and status == OK else text
            yield Loaded(image, None, status, shown, digest, detail)

    def joined(self, found: list[Read]) -> Iterator[Loaded]:
        """The items of a task whose pictures the job had ``found``."""
        for read, status, detail in zip(found, self.image_status, self.detail, strict=True):
            yield Loaded(status, None, read.text_status, read.text, read.hash, detail)


def nursery(control: int, memory: int) -> None:
    """Fork a decoder for each connection that comes over the socket ``control``, until it ends."""
    signal.signal(signal.SIGCHLD, _reap)
    own_this_process()
    setup: Setup = pickle.load(sys.stdin.buffer)
    _import(setup.rule)
    gc.freeze()
    with socket.socket(fileno=control) as given:
        while lines := socket.recv_fds(given, 1, 1)[1]:
            if os.fork() == 0:
                given.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                try:
                    Decoder(Connection(lines[0]), setup, memory).run()
                finally:
                    os._exit(1)
            os.close(lines[0])
    with suppress(ChildProcessError):  # their lines have ended too
        while os.wait():
            pass
    os._exit(0)  # without taking torch apart


def _reap(*_: object) -> None:
    """Forget decoders that have ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _import(rule: ImageRule) -> None:
    """What decoding would import at its first picture."""
    formats()
    if rule.decode == "exact":
        return
    import torch

    torch.set_num_threads(1)
    with suppress(ImportError), torchvision():  # without its decoders Pillow decodes
        from torchvision.io import decode_jpeg  # noqa: F401


class Decoder:
    """One decoder's end of the line."""

    def __init__(self, line: Connection, setup: Setup, memory: int) -> None:
        self.line, self.shape, self.memory = line, setup.shape, memory
        self.loader = Loader(setup.source, setup.rule, setup.takes_text)
        self._tasks: SimpleQueue[Task] = SimpleQueue()
        self._slots: dict[int, Any] = {}

    def run(self) -> None:
        """Do tasks until the line ends."""
        threading.Thread(target=self._receive, daemon=True).start()
        self._say("ready", os.getpid())
        while True:
            task = self._tasks.get()
            try:
                self._say("done", self._made(*task))
            except BaseException as error:
                self._say("error", sendable(error))

    def _receive(self) -> None:
        """Take tasks at once, so that the job never waits to give one; end with the job."""
        with suppress(EOFError, OSError):
            while True:
                self._tasks.put(pickle.loads(self.line.recv_bytes()))
        os._exit(0)

    def _say(self, kind: str, body: object) -> None:
        try:
            self.line.send_bytes(pickle.dumps((kind, body), pickle.HIGHEST_PROTOCOL))
        except OSError:  # the job has ended
            os._exit(0)

    def _made(
        self, number: int, start: int, inputs: list[Inputs], pictures: list[Picture] | None
    ) -> Done:
        if number not in self._slots:
            self._slots[number] = mapped(self.memory, number, self.shape)
        pixels, done = self._slots[number], Done()
        said = before = perf_counter()
        for place, (read, text) in enumerate(self._read(inputs, pictures), start):
            between, item = perf_counter(), self.loader.decode(read)
            if item.pixels is not None:
                pixels[place] = item.pixels
            now = perf_counter()
            done.add(item, text, between - before, now - between)
            if now - said > EVERY:
                self._say("alive", (done.reading, done.decoding))
                said, done.reading, done.decoding = now, 0.0, 0.0
            before = now
        return done

    def _read(
        self, inputs: list[Inputs], pictures: list[Picture] | None
    ) -> Iterator[tuple[Read, str | None]]:
        """Items and their texts as given; of those that the job has read it has the texts, too."""
        for image, text in inputs:
            yield self.loader.read(image, text), text
        for status, data, detail in pictures or ():
            yield Read(status, data, MISSING, None, "", detail), None
