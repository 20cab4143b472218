"""Several machines: the blocks of a job through actors of a Ray cluster, and one store.

The driver plans, measures and writes, as in mmx.extract.workers.processes; each actor opens the
encoder and returns finished parts through Ray's object store. All machines must see the
pictures and weights under the same paths (a shared file system, or URLs); ``--out`` only the
driver's must.

Actors of our own and not Ray Data's pool, which leaves a lost machine's tasks with its actor: where
no other machine has room, they use up their retries (Ray 2.60).
"""

from __future__ import annotations

import importlib.util
import os
import pickle
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from time import monotonic
from typing import Any

import pyarrow as pa

from mmx.devices import AUTO
from mmx.errors import EncoderError, OptionError, first_line
from mmx.extract.planning import Block, with_rows
from mmx.extract.stages.progress import Progress
from mmx.extract.stages.sending import sendable
from mmx.extract.stages.write import Writer
from mmx.extract.workers.job import EncodeJob, JobSpec, Recipe, Worker
from mmx.extract.workers.messages import Counts, add_up, counts, packed, unpacked
from mmx.extract.workers.pending import PendingBlocks
from mmx.extract.workers.ray_cluster import connected, must_listen, shares, takes_gpus
from mmx.extract.workers.ray_watch import SIGNS, Watch

STRETCH = 4  # blocks of a task, at most: between two tasks an actor's decoders start again
TICK = 1.0  # s between two looks for actors that make no progress
AHEAD = 2  # tasks that an actor has, the one it works on included

CLUSTER = "the Ray cluster"

Packed = list[tuple[int, bytes]]  # part numbers and packed tables


@dataclass(frozen=True)
class RayActors:
    """Encodes on a Ray cluster (an Engine): ``address``, the one in use, or one of this machine.

    Raises OptionError when ray is not installed, nothing listens at ``address``, or ``device`` is
    another one.
    """

    recipe: Recipe
    device: str  # auto, cpu or cuda; Ray chooses which GPU an actor gets
    processes: int | None = None  # actors; None: one for each GPU, or machine without
    address: str | None = None

    def __post_init__(self) -> None:
        if importlib.util.find_spec("ray") is None:
            raise OptionError("--engine ray needs ray; pip install 'mmx[ray]'")
        if self.device not in (AUTO, "cpu", "cuda"):
            raise OptionError(f"--device {self.device}: --engine ray takes auto, cpu or cuda")
        must_listen(self.address)

    def run(self, job: EncodeJob) -> None:
        """See ``Engine``. Actors that die or hang are replaced, on this or another machine.

        Raises the error of an actor; EncoderError when too many were lost over a block.
        """
        if job.spec.decode_processes:
            raise OptionError("--decode-processes goes with --engine local; actors use threads")
        own = Progress()  # of the driver: it writes
        with (
            connected(self.address) as ray,
            Writer(job.write, own) as writer,
            _RayPool(ray, self, job) as pool,
        ):
            for number, rows in pool.parts():
                writer.put(number, partial(unpacked, rows))
                add_up(job.state, own, list(pool.counts.values()))
                job.progress(job.state)

    def where(self) -> str:
        """See ``Engine``."""
        return f"{self.device} of {CLUSTER}"


class Encode:
    """An actor: packed blocks in, packed parts out. Its errors come back as pickled exceptions."""

    def __init__(self, recipe: Recipe, spec: JobSpec, device: str, cpus: int, folder: str) -> None:
        self.name, self.state = uuid.uuid4().hex, Progress()
        self._make = partial(Worker, recipe, spec, device, cpus, 1)
        self._folder = folder

    def open(self) -> bytes | None:
        """Open the encoder; None when it is there."""
        try:
            _enter(self._folder)
            self._worker = self._make()
        except Exception as error:
            return pickle.dumps(sendable(error))
        return None

    def done(self) -> Counts:
        """What it has done so far; called while it works (mmx.extract.workers.ray_watch)."""
        return counts(self.state)

    def work(self, given: Packed) -> tuple[Packed, str, Counts] | bytes:
        """Encode some blocks; their parts, this actor's name and what it has done so far."""
        found: Packed = []

        def keep(number: int, rows: pa.Table) -> None:
            found.append((number, packed(rows)))

        try:
            self._worker.run(((n, unpacked(rows)) for n, rows in given), keep, self.state)
            return found, self.name, counts(self.state)
        except Exception as error:
            return pickle.dumps(sendable(error))


class _RayPool:
    """The actors of a job (a context manager that ends them)."""

    def __init__(self, ray: Any, engine: RayActors, job: EncodeJob) -> None:
        self.ray, self.table, self.watch = ray, job.table, Watch(ray)
        self.pending = pending = PendingBlocks(job.blocks, job.table, job.state)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        cuda = takes_gpus(engine.device, nodes)
        count, cpus = shares(nodes, cuda, engine.processes)
        self.stretch = max(1, min(STRETCH, len(pending.waiting) // (4 * count)))
        self.count = min(count, len(pending.waiting))
        spec = replace(job.spec.shared(self.count), decode_processes=0)  # an actor's task is short
        kind = ray.remote(concurrency_groups={SIGNS: 1})(Encode).options(
            num_cpus=cpus, num_gpus=int(cuda), max_restarts=0, scheduling_strategy="SPREAD"
        )
        self.make = partial(kind.remote, engine.recipe, spec, engine.device, cpus, os.getcwd())
        self.idle: list[Any] = []  # actors, as often as they could take a task
        self.running: dict[Any, tuple[Any, list[Block]]] = {}  # result → actor, its blocks
        self.counts: dict[str, Counts] = {}  # by actor

    def __enter__(self) -> _RayPool:
        return self

    def __exit__(self, *_: object) -> None:
        for actor in {*self.idle, *(actor for actor, _ in self.running.values())}:
            self.ray.kill(actor)

    def parts(self) -> Iterator[tuple[int, bytes]]:
        """Finished parts as they come, packed."""
        for _ in range(self.count):
            self._spawn()
        while self.pending.waiting or any(blocks for _, blocks in self.running.values()):
            start = monotonic()
            results = self.ray.wait(list(self.running), timeout=TICK)[0]
            self._replace_silent(min(monotonic() - start, TICK))
            for result in results:
                if result in self.running:  # unless its actor was given up a moment ago
                    yield from self._finish(result)
            self._give()

    def _spawn(self) -> None:
        """Start an actor. Where there is no room for it yet, the others continue meanwhile."""
        actor = self.make()
        self.running[actor.open.remote()] = actor, []

    def _give(self) -> None:
        while self.idle and self.pending.waiting:
            actor, blocks = self.idle.pop(0), self.pending.take(self.stretch)
            given = [(number, packed(rows)) for number, rows in with_rows(self.table, blocks)]
            self.running[actor.work.remote(given)] = actor, blocks

    def _finish(self, result: Any) -> Packed:
        actor, blocks = self.running.pop(result)
        try:
            found = self.ray.get(result)
        except self.ray.exceptions.RayError as error:
            reason = f"{type(error).__name__}: {first_line(error)}"
            self.pending.lost(blocks + self._gone(actor), CLUSTER, reason)
            return []
        if isinstance(found, bytes):
            raise pickle.loads(found)
        self.idle += [actor] * (1 if blocks else AHEAD)
        if found is None:
            self.pending.opened()
            return []
        parts, name, self.counts[name] = found
        return parts

    def _replace_silent(self, waited: float) -> None:
        """Replace busy actors that hang; waiting for room or for a task is not hanging."""
        busy = {actor for actor, blocks in self.running.values() if blocks}
        for actor in self.watch.silent(busy, waited, self.pending.silence):
            self.pending.hung(self._gone(actor), CLUSTER)

    def _gone(self, actor: Any) -> list[Block]:
        """An actor died or hangs, or its machine died. Starts another; returns what it held."""
        self.idle = [other for other in self.idle if other != actor]
        blocks = []
        for result in [r for r, (other, _) in self.running.items() if other == actor]:
            blocks += self.running.pop(result)[1]
        with suppress(self.ray.exceptions.RayError):
            self.ray.kill(actor)  # it may only have been out of reach
        self._spawn()
        return blocks


def _enter(folder: str) -> None:
    """Change to the folder of the driver, where relative paths start."""
    try:
        os.chdir(folder)
    except OSError as error:
        raise EncoderError(
            f"{folder} cannot be entered on {os.uname().nodename} ({error.strerror}); the data "
            "must be under the same path on all machines of the cluster"
        ) from error


def coordinator_device(device: str) -> str:
    """The device of the driver's own encoder, which measures: it may have no GPU."""
    if device == "cuda":
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"
    return device
