"""Several processes of this machine, one for each GPU or share of the cores, and one store."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from time import monotonic
from typing import Any

import pyarrow as pa

from mmx.devices import AUTO, give_back_memory, usable_device
from mmx.errors import OptionError
from mmx.extract.planning import Block, rows_of
from mmx.extract.stages.progress import Progress
from mmx.extract.stages.write import Writer
from mmx.extract.workers.job import EncodeJob, JobSpec, Recipe
from mmx.extract.workers.messages import Counts, add_up, counts, packed, unpacked
from mmx.extract.workers.pending import PendingBlocks
from mmx.extract.workers.worker import work

PATIENCE = 10.0  # s that a process may take to end after it has closed its line
TICK = 1.0  # s between two looks for workers that are silent


@dataclass(frozen=True)
class Workers:
    """Encodes in one process for each of ``devices``; a device may be named again.

    Processes are spawned: a script that calls this needs ``if __name__ == "__main__":``.
    """

    recipe: Recipe
    devices: tuple[str, ...]

    def run(self, job: EncodeJob) -> None:
        """See ``Engine``. A worker that dies is replaced, and what it held is done again.

        One that makes no progress for long is killed. Raises the error of a worker; EncoderError
        when too many were lost over a block (mmx.extract.workers.pending).
        """
        give_back_memory()  # of the coordinator's encoder
        own = Progress()  # of the coordinator: it writes
        devices = self.devices[: len(job.blocks)]
        spec = job.spec.shared(len(devices))
        pending = PendingBlocks(job.blocks, job.table, job.state)
        with Writer(job.write, own) as writer, _Pool(self.recipe, spec, job.table, pending) as pool:
            pool.start(devices)
            while pool.workers:
                for finished in pool.listen():
                    writer.put(*finished)
                add_up(job.state, own, pool.counts())
                job.progress(job.state)

    def where(self) -> str:
        """See ``Engine``."""
        return f"{', '.join(dict.fromkeys(self.devices))} in {len(self.devices)} processes"


@dataclass
class _Worker:
    """One worker process and what it holds."""

    process: BaseProcess
    line: Connection
    device: str
    blocks: dict[int, Block] = field(default_factory=dict)  # by number of the part
    delivered: int = 0  # rows
    finished: bool = False  # it knows that there are no more blocks
    silent: float = 0.0  # s without a message, while the coordinator was running
    counts: Counts = field(default_factory=lambda: counts(Progress()))


class _Pool:
    """The worker processes of a job (a context manager that leaves none of them behind)."""

    def __init__(
        self, recipe: Recipe, spec: JobSpec, table: pa.Table, pending: PendingBlocks
    ) -> None:
        self.recipe, self.spec = recipe, spec
        self.table = table.select(["item_id", "image", "text"])
        self.pending = pending
        self.workers: dict[Connection, _Worker] = {}
        self.past: list[Counts] = []  # of workers that are gone
        self.share = 1

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers.values():
            worker.process.kill()
        for worker in self.workers.values():
            worker.process.join()
            worker.line.close()

    def start(self, devices: Sequence[str]) -> None:
        """One worker for each device."""
        self.share = len(devices)
        for device in devices:
            self._spawn(device)

    def listen(self) -> list[tuple[int, Callable[[], pa.Table]]]:
        """Receive what workers have sent; returns the finished blocks."""
        found = []
        start = monotonic()
        lines = wait(list(self.workers), TICK)
        self._kill_silent(min(monotonic() - start, TICK), lines)
        for line in lines:
            assert isinstance(line, Connection)
            try:
                kind, body, self.workers[line].counts = line.recv()
            except (EOFError, OSError):
                self._gone(self.workers.pop(line))
                continue
            if kind == "error":
                raise body
            if kind == "next":
                self._give(self.workers[line])
            if kind == "part":
                found.append(self._take(self.workers[line], *body))
        return found

    def counts(self) -> list[Counts]:
        """What each worker has done, those that are gone included."""
        return [*self.past, *(worker.counts for worker in self.workers.values())]

    def _spawn(self, device: str) -> None:
        context = get_context("spawn")  # CUDA and threads do not survive a fork
        line, theirs = context.Pipe()
        process = context.Process(
            target=work, args=(theirs, self.recipe, self.spec, device, self.share), daemon=True
        )
        # Ctrl-C is for the coordinator alone, also while the worker is still being imported.
        resource_tracker.ensure_running()  # when it starts later it undoes the mask
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()  # so that the end of the process is the end of the line
        self.workers[line] = _Worker(process, line, device)

    def _give(self, worker: _Worker) -> None:
        message = None
        for block in self.pending.take():
            worker.blocks[block.number] = block
            message = (block.number, packed(rows_of(self.table, block.rows)))
        worker.finished = message is None
        with suppress(OSError):  # dead: the line's end will say so
            worker.line.send(message)

    def _take(
        self, worker: _Worker, number: int, data: bytes
    ) -> tuple[int, Callable[[], pa.Table]]:
        worker.delivered += len(worker.blocks.pop(number).rows)
        return number, lambda: unpacked(data)

    def _kill_silent(self, waited: float, speaking: Sequence[object]) -> None:
        """Kill workers silent for too long; time in which we were stopped does not count."""
        for line, worker in list(self.workers.items()):
            worker.silent = 0.0 if line in speaking else worker.silent + waited
            if worker.silent > self.pending.silence:
                worker.process.kill()
                self._gone(self.workers.pop(line), hung=True)

    def _gone(self, worker: _Worker, hung: bool = False) -> None:
        """Close a worker that has finished; replace one that has died, or was killed as hung."""
        worker.line.close()
        worker.process.join(PATIENCE)
        worker.process.kill()
        if worker.finished and not worker.blocks:
            self.past.append(worker.counts)
            return
        idle = dict.fromkeys(worker.counts["threads"], 0)
        self.past.append({**worker.counts, "done": worker.delivered, "threads": idle})
        held = list(worker.blocks.values())
        if hung:
            self.pending.hung(held, worker.device)
        else:
            self.pending.lost(held, worker.device, _how(worker.process.exitcode))
        self._spawn(worker.device)


def _how(code: int | None) -> str:
    if code == -signal.SIGKILL:
        return "killed, as the system does when memory runs out"
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"


def spread(device: str, processes: int | None) -> tuple[str, ...]:
    """A device for each process: "cuda:0,cuda:1" is two, and so are "cuda" and 2 processes.

    More processes than devices share them in turn. Raises OptionError for fewer processes than
    devices.
    """
    named: list[Any] = device.split(",")
    count = processes if processes is not None else len(named)
    if count < len(named):
        raise OptionError(f"--processes {count} for {len(named)} devices; drop some of --device")
    if named == [AUTO] and count > 1:
        named = [usable_device(AUTO).type]
    if named == ["cuda"] and count > 1:
        import torch

        named = [f"cuda:{n}" for n in range(max(1, min(count, torch.cuda.device_count())))]
    return tuple(named[n % len(named)] for n in range(count))
