"""When processes take decoding over from threads, and from which batch on.

They cost time to start, so a job begins with threads. Automatically they start only where three
things were seen in two spans one after the other: the encoder waited for pictures most of the
time; about one core was busy and others idle, so that Python's lock is what is missing, and not
cores or a disk; and what is left would take much longer than a start.

Beside a GPU they start at once in all but small jobs. A pass there is many short calls, each of
which has to get the lock from the threads: on an H200 with 16 cores, passes of VLMo base_plus alone
do 6,500 pictures a second; 970 came out beside 16 threads, and beside 16 processes 3,900, which is
what those decode.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from time import monotonic, process_time

import numpy as np

from mmx.errors import EncoderError, OptionError
from mmx.extract.stages.decoders import Decoders, obstacle
from mmx.extract.stages.load import Loader
from mmx.extract.stages.progress import Progress
from mmx.extract.stages.reading import Reading
from mmx.extract.stages.slots import Slots

SPAN = 1.0  # s of the job that are looked at together
SPANS = 2  # in a row, in which threads must have been too slow
WAITED = 0.5  # of a span, for pictures, above which they are
LOCKED = 0.8  # of a core, below which the threads wait for something else
BUSY = 0.9  # of all cores, above which processes would not be faster
START = {"exact": 0.5}  # CPU s of a start, by how pictures are decoded
IMPORT = 2.0  # CPU s of a start that imports torch
WORTH = 8  # times a start, that what is left must take
MANY = 4000  # items, from which on a GPU's job starts them at once
PageLocked = Callable[[np.ndarray], AbstractContextManager[None]]


@dataclass(frozen=True)
class Seen:
    """A moment of a job."""

    time: float  # s
    cpu: float  # s, of this process
    waited: float  # s, for pictures
    done: int  # items

    @classmethod
    def now(cls, state: Progress) -> Seen:
        """This moment."""
        return cls(monotonic(), process_time(), state.waited["decoding"], state.done)


def too_slow(before: Seen, now: Seen, left: int, cores: int, start: float) -> bool:
    """Whether processes should have decoded from ``before`` to ``now``; ``left`` items follow.

    ``start`` is what their start takes, in CPU s.
    """
    span, done = now.time - before.time, now.done - before.done
    starved = now.waited - before.waited > WAITED * span
    locked = LOCKED * span < now.cpu - before.cpu < BUSY * span * cores
    return starved and locked and left * span > WORTH * start * done


class Takeover:
    """Decides, starts the processes and ends them (a context manager).

    It also holds the memory that they share with this process, so it ends after the encoder's
    passes.
    """

    def __init__(
        self,
        loader: Loader,
        batch_size: int,
        state: Progress,
        *,
        processes: int | None,
        threads: int,
        cores: int,
        gpu: bool = False,
        page_locked: PageLocked = lambda pixels: nullcontext(),
    ) -> None:
        """``processes``: how many, from the first batch on; 0: never; None: as is seen here, and
        then as many as ``threads``, of which this job has ``cores``. ``gpu``: one encodes.

        Raises OptionError where processes cannot decode.
        """
        self.loader, self.batch_size, self.state = loader, batch_size, state
        self.cores, self.gpu, self.page_locked = cores, gpu, page_locked
        why_not = obstacle(loader)
        if processes and why_not:
            raise OptionError(f"--decode-processes {processes}: {why_not}; drop it")
        self.count = processes or threads
        self._decided = bool(processes)
        self._never = processes == 0 or why_not is not None
        self._before: Seen | None = None
        self._slow = 0  # spans in a row
        self._decoders: Decoders | None = None
        self._resources = ExitStack()

    def __enter__(self) -> Takeover:
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def maker(self, reading: Reading, pictures: bool) -> Decoders | None:
        """The processes, if they are to make the next batch; ``reading`` reads what they cannot.

        ``pictures``: whether that batch has any.

        Raises EncoderError where they cannot start, unless it was decided here that they should.
        """
        if self._decided:
            self._decoders = self._decoders or self._start(reading)
            return self._decoders
        if self._never or not (self._decoders or self._due(pictures)):
            return None
        try:
            self._decoders = self._decoders or self._start(reading)
            self._decided = self._decoders.ready()
        except EncoderError as error:  # threads can do without them
            self.state.remark(f"pictures were decoded by threads: {error}")
            self._never = True
        return self._decoders if self._decided else None

    def _due(self, pictures: bool) -> bool:
        now = Seen.now(self.state)
        left = self.state.total - now.done
        if self.gpu and pictures and left >= MANY and self.cores > 1:
            return True
        if self._before is None:
            self._before = now
        if now.time - self._before.time < SPAN:
            return False
        slow = too_slow(self._before, now, left, self.cores, self._cost())
        self._slow = self._slow + 1 if slow else 0
        self._before = now
        return self._slow >= SPANS

    def _cost(self) -> float:
        rule = self.loader.image_rule
        return START.get(rule.decode, IMPORT) if rule is not None else 0.0

    def _start(self, reading: Reading) -> Decoders:
        rule = self.loader.image_rule
        assert rule is not None
        shape = (self.batch_size, rule.size, rule.size, 3)
        slots = self._resources.enter_context(Slots(shape, self.page_locked))
        decoders = Decoders(reading, self.batch_size, self.count, self.state, slots)
        slots.reserve(decoders.depth)
        return self._resources.enter_context(decoders)
