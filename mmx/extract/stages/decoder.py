"""A process that decodes for another, and writes the pixels into memory they share.

It reads the pictures as well, if it can: files of this machine. Others are given with the task.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from time import perf_counter

from mmx.cache.schema import MISSING, OK
from mmx.extract.lean import torchvision
from mmx.extract.pictures.images import ImageRule, formats
from mmx.extract.sources.source import Source
from mmx.extract.stages.batches import Inputs
from mmx.extract.stages.forked import Forked
from mmx.extract.stages.load import Loaded, Loader, Read
from mmx.extract.stages.slots import Shape

EVERY = 5.0  # s after which a decoder says that it is at work

Picture = tuple[str, bytes | None, str]  # image status, encoded and detail of what the job has read
# Number of a slot, place of the first item in it, the items, their pictures if they have been read.
Task = tuple[int, int, list[Inputs], list[Picture] | None]


@dataclass(frozen=True)
class Setup:
    """What a decoder must know (a Work)."""

    source: Source  # of what the job has not read
    rule: ImageRule
    takes_text: bool
    shape: Shape  # of a slot

    def prepare(self) -> None:
        """Import what decoding would import at its first picture."""
        formats()
        if self.rule.decode == "exact":
            return
        import torch

        torch.set_num_threads(1)
        with suppress(ImportError), torchvision():  # without its decoders Pillow decodes
            from torchvision.io import decode_jpeg  # noqa: F401

    def forked(self, line: Connection, memory: int) -> Decoder:
        """See Work."""
        return Decoder(line, self, memory)


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


class Decoder(Forked):
    """A fork that decodes. While a task takes long it says "alive", with s of reading and of
    decoding.
    """

    def __init__(self, line: Connection, setup: Setup, memory: int) -> None:
        super().__init__(line, memory, setup.shape)
        self.loader = Loader(setup.source, setup.rule, setup.takes_text)

    def made(self, task: Task) -> Done:
        """Decode the items of a task."""
        number, start, inputs, pictures = task
        pixels, done = self.slot(number), Done()
        said = before = perf_counter()
        for place, (read, text) in enumerate(self._read(inputs, pictures), start):
            between, item = perf_counter(), self.loader.decode(read)
            if item.pixels is not None:
                pixels[place] = item.pixels
            now = perf_counter()
            done.add(item, text, between - before, now - between)
            if now - said > EVERY:
                self.say("alive", (done.reading, done.decoding))
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
