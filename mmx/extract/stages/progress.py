"""Progress of an extraction, and which stage the others wait for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

from mmx.extract.reasons import Reason

STAGES = ("reading", "decoding", "encoding", "writing")
EXAMPLES = 3  # pictures shown of each reason
HOSTS = 50  # that were given up


@dataclass
class Progress:
    """The state of a run. Stages add to it from their own threads."""

    stage: str = "check"  # check, encode, merge
    done: int = 0  # items of this stage
    total: int = 0
    threads: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STAGES, 1))
    busy: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))  # thread s
    items: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STAGES, 0))  # done
    waited: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    examples: dict[str, list[str]] = field(default_factory=dict)  # reason → pictures, hosts
    note: str = ""  # one line that the caller should show, once
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @contextmanager
    def working(self, stage: str, items: int) -> Iterator[None]:
        """Count the block as work of one of the stage's threads on ``items`` items."""
        start = perf_counter()
        yield
        self.worked(stage, items, perf_counter() - start)

    def worked(self, stage: str, items: int, seconds: float) -> None:
        """Count ``seconds`` of work of one of the stage's threads on ``items`` items."""
        with self._lock:
            self.busy[stage] += seconds
            self.items[stage] += items

    def staff(self, stage: str, threads: int) -> None:
        """Others work in the stage from now on: the rate is theirs."""
        with self._lock:
            self.threads[stage], self.busy[stage], self.items[stage] = threads, 0.0, 0

    @contextmanager
    def waiting(self, stage: str) -> Iterator[None]:
        """Count the block as time in which the thread that gives out work waited for the stage."""
        start = perf_counter()
        yield
        self.waited[stage] += perf_counter() - start

    def remark(self, line: str) -> None:
        """Add to the ``note``."""
        self.note = f"{self.note}; {line}" if self.note else line

    def example(self, reason: str, detail: str) -> None:
        """Keep what failed for a reason, if it is among the first few that differ."""
        with self._lock:
            known = self.examples.setdefault(reason, [])
            most = HOSTS if reason == Reason.GIVEN_UP else EXAMPLES
            if detail and detail not in known and len(known) < most:
                known.append(detail)

    def rate(self, stage: str) -> float:
        """Items per second that the stage's threads do when they have work; 0 before the first."""
        busy = self.busy[stage]
        return self.items[stage] * self.threads[stage] / busy if busy else 0.0

    @property
    def bottleneck(self) -> str:
        """The stage that was waited for most. Decoding includes the reading before it."""
        worst = max(("encoding", "decoding", "writing"), key=lambda stage: self.waited[stage])
        if worst != "decoding":
            return worst
        reading, decoding = (self.busy[s] / self.threads[s] for s in ("reading", "decoding"))
        return "reading" if reading > decoding else "decoding"
