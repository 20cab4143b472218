"""Several processes of this machine, one for each GPU or share of the cores, and one store."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from time import monotonic
from typing import Any

import pyarrow as pa

from mmx.errors import OptionError
from mmx.extract.planning import Block, rows_of
from mmx.extract.stages.progress import Progress
from mmx.extract.stages.write import Write, Writer
from mmx.extract.workers.job import (
    Counts,
    Orders,
    Recipe,
    add_up,
    counts,
    packed,
    unpacked,
)
from mmx.extract.workers.pending import Ledger
from mmx.extract.workers.worker import work

PATIENCE = 10.0  # s that a process may take to end after it has closed its line
TICK = 1.0  # s between two looks at who is silent


@dataclass(frozen=True)
class Workers:
    """Encodes in one process for each of ``devices``; a device may be named again.

    Processes are spawned: a script that calls this needs ``if __name__ == "__main__":``.
    """

    recipe: Recipe
    devices: tuple[str, ...]

    def run(
        self,
        orders: Orders,
        table: pa.Table,
        blocks: Sequence[Block],
        write: Write,
        state: Progress,
        progress: Callable[[Progress], None],
    ) -> None:
        """See ``Engine``. A worker that dies is replaced, and what it held is done again.

        One that makes no progress for long is killed. Raises the error of a worker; EncoderError
        when a block has cost too many (mmx.extract.workers.pending).
        """
        _give_back_memory()
        own = Progress()  # of the coordinator: it writes
        devices = self.devices[: len(blocks)]
        orders = orders.shared(len(devices))
        ledger = Ledger(blocks, table, state)
        with Writer(write, own) as writer, _Crew(self.recipe, orders, table, ledger) as crew:
            crew.start(devices)
            while crew.hands:
                for finished in crew.listen():
                    writer.put(*finished)
                add_up(state, own, [*crew.past, *(hand.counts for hand in crew.hands.values())])
                progress(state)


@dataclass
class _Hand:
    """One worker process and what it holds."""

    process: BaseProcess
    line: Connection
    device: str
    blocks: dict[int, Block] = field(default_factory=dict)  # by number of the part
    delivered: int = 0  # rows
    dismissed: bool = False  # told that there is no more
    silent: float = 0.0  # s, as long as the coordinator was there to hear it
    counts: Counts = field(default_factory=lambda: counts(Progress()))


class _Crew:
    """The worker processes of a job (a context manager that leaves none of them behind)."""

    def __init__(self, recipe: Recipe, orders: Orders, table: pa.Table, ledger: Ledger) -> None:
        self.recipe, self.orders = recipe, orders
        self.table = table.select(["item_id", "image", "text"])
        self.ledger = ledger
        self.hands: dict[Connection, _Hand] = {}
        self.past: list[Counts] = []  # of workers that are gone
        self.share = 1

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for hand in self.hands.values():
            hand.process.kill()
        for hand in self.hands.values():
            hand.process.join()
            hand.line.close()

    def start(self, devices: Sequence[str]) -> None:
        """One worker for each device."""
        self.share = len(devices)
        for device in devices:
            self._hire(device)

    def listen(self) -> list[tuple[int, Callable[[], pa.Table]]]:
        """Hear whoever has something to say; gives the finished blocks."""
        found = []
        start = monotonic()
        lines = wait(list(self.hands), TICK)
        self._mind_silence(min(monotonic() - start, TICK), lines)
        for line in lines:
            assert isinstance(line, Connection)
            try:
                kind, body, self.hands[line].counts = line.recv()
            except (EOFError, OSError):
                self._gone(self.hands.pop(line))
                continue
            if kind == "error":
                raise body
            if kind == "next":
                self._hand_out(self.hands[line])
            if kind == "part":
                found.append(self._take(self.hands[line], *body))
        return found

    def _hire(self, device: str) -> None:
        context = get_context("spawn")  # CUDA and threads do not survive a fork
        line, theirs = context.Pipe()
        process = context.Process(
            target=work, args=(theirs, self.recipe, self.orders, device, self.share), daemon=True
        )
        # Ctrl-C is for the coordinator alone, also while the worker is still being imported.
        resource_tracker.ensure_running()  # when it starts later it undoes the mask
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()  # so that the end of the process is the end of the line
        self.hands[line] = _Hand(process, line, device)

    def _hand_out(self, hand: _Hand) -> None:
        message = None
        for block in self.ledger.take():
            hand.blocks[block.number] = block
            message = (block.number, packed(rows_of(self.table, block.rows)))
        hand.dismissed = message is None
        with suppress(OSError):  # dead: the line's end will say so
            hand.line.send(message)

    def _take(self, hand: _Hand, number: int, data: bytes) -> tuple[int, Callable[[], pa.Table]]:
        hand.delivered += len(hand.blocks.pop(number).rows)
        return number, lambda: unpacked(data)

    def _mind_silence(self, waited: float, heard: Sequence[object]) -> None:
        """Kill who has not been heard for too long; time in which we were stopped is not theirs."""
        for line, hand in list(self.hands.items()):
            hand.silent = 0.0 if line in heard else hand.silent + waited
            if hand.silent > self.ledger.silence:
                hand.process.kill()
                self._gone(self.hands.pop(line), hung=True)

    def _gone(self, hand: _Hand, hung: bool = False) -> None:
        """Let a worker go that has finished; replace one that has died, or was killed as hung."""
        hand.line.close()
        hand.process.join(PATIENCE)
        hand.process.kill()
        if hand.dismissed and not hand.blocks:
            self.past.append(hand.counts)
            return
        idle = dict.fromkeys(hand.counts["threads"], 0)
        self.past.append({**hand.counts, "done": hand.delivered, "threads": idle})
        held = list(hand.blocks.values())
        if hung:
            self.ledger.hung(held, hand.device)
        else:
            self.ledger.lost(held, hand.device, _how(hand.process.exitcode))
        self._hire(hand.device)


def _give_back_memory() -> None:
    """What the coordinator's encoder left on a GPU, torch keeps for itself unless told."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _how(code: int | None) -> str:
    if code == -signal.SIGKILL:
        return "killed, as the system does when memory ends"
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"


def spread(device: str, processes: int | None) -> tuple[str, ...]:
    """A device for each process: "cuda:0,cuda:1" is two, and so are "cuda" and 2 processes.

    More processes than devices share them in turn. Raises OptionError for numbers that make
    no sense.
    """
    named: list[Any] = device.split(",")
    count = processes if processes is not None else len(named)
    if count < len(named):
        raise OptionError(f"--processes {count} for {len(named)} devices; drop some of --device")
    if named == ["cuda"] and count > 1:
        import torch

        named = [f"cuda:{n}" for n in range(max(1, min(count, torch.cuda.device_count())))]
    return tuple(named[n % len(named)] for n in range(count))
