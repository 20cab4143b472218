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
import logging
import os
import pickle
import socket
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from math import ceil
from time import monotonic
from typing import Any

import pyarrow as pa

from mmx.devices import AUTO
from mmx.errors import EncoderError, OptionError, first_line
from mmx.extract.planning import Block, with_rows
from mmx.extract.stages.progress import Progress
from mmx.extract.stages.run import cores
from mmx.extract.stages.write import Write, Writer
from mmx.extract.workers.job import (
    Counts,
    JobSpec,
    Recipe,
    Worker,
    add_up,
    counts,
    packed,
    sendable,
    unpacked,
)
from mmx.extract.workers.pending import PendingBlocks
from mmx.extract.workers.ray_watch import SIGNS, Watch

STRETCH = 4  # blocks of a task, at most: between two tasks an actor's decoders start anew
PATIENCE = 5.0  # s until a cluster must answer
TICK = 1.0  # s between two looks at who makes no progress
AHEAD = 2  # tasks that an actor has, the one it is at included

CLUSTER = "the Ray cluster"

Packed = list[tuple[int, bytes]]  # part numbers and packed tables


@dataclass(frozen=True)
class RayActors:
    """Encodes on a Ray cluster (an Engine): ``address``, the one in use, or one of this machine.

    Raises OptionError when ray is not installed, nothing listens at ``address``, or the options
    make no sense.
    """

    recipe: Recipe
    device: str  # auto, cpu or cuda; which GPU an actor gets is Ray's affair
    processes: int | None = None  # actors; None: one for each GPU, or machine without
    address: str | None = None

    def __post_init__(self) -> None:
        if importlib.util.find_spec("ray") is None:
            raise OptionError("--engine ray needs ray; pip install 'mmx[ray]'")
        if self.device not in (AUTO, "cpu", "cuda"):
            raise OptionError(f"--device {self.device}: --engine ray takes auto, cpu or cuda")
        _must_listen(self.address)

    def run(
        self,
        spec: JobSpec,
        table: pa.Table,
        blocks: Sequence[Block],
        write: Write,
        state: Progress,
        progress: Callable[[Progress], None],
    ) -> None:
        """See ``Engine``. Actors that die or stand still are replaced, here or elsewhere.

        Raises the error of an actor; EncoderError when a block has cost too many of them.
        """
        own = Progress()  # of the driver: it writes
        with (
            _cluster(self.address) as ray,
            Writer(write, own) as writer,
            _RayPool(ray, self, spec, table, PendingBlocks(blocks, table, state)) as pool,
        ):
            for number, rows in pool.parts():
                writer.put(number, partial(unpacked, rows))
                add_up(state, own, list(pool.counts.values()))
                progress(state)


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
            self._station = self._make()
        except Exception as error:
            return pickle.dumps(sendable(error))
        return None

    def done(self) -> Counts:
        """What it has done so far: asked while it works (mmx.extract.workers.ray_watch)."""
        return counts(self.state)

    def work(self, given: Packed) -> tuple[Packed, str, Counts] | bytes:
        """Encode some blocks; tells what this actor has done so far."""
        found: Packed = []

        def keep(number: int, rows: pa.Table) -> None:
            found.append((number, packed(rows)))

        try:
            self._station.run(((n, unpacked(rows)) for n, rows in given), keep, self.state)
            return found, self.name, counts(self.state)
        except Exception as error:
            return pickle.dumps(sendable(error))


class _RayPool:
    """The actors of a job (a context manager that ends them)."""

    def __init__(
        self, ray: Any, engine: RayActors, spec: JobSpec, table: pa.Table, pending: PendingBlocks
    ) -> None:
        self.ray, self.table, self.pending, self.watch = ray, table, pending, Watch(ray)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        device = actor_device(engine.device, nodes)
        cuda = device == "cuda"
        count, cpus = shares(nodes, cuda, engine.processes)
        self.stretch = max(1, min(STRETCH, len(pending.waiting) // (4 * count)))
        self.count = min(count, len(pending.waiting))
        spec = spec.shared(self.count)
        kind = ray.remote(concurrency_groups={SIGNS: 1})(Encode).options(
            num_cpus=cpus, num_gpus=int(cuda), max_restarts=0, scheduling_strategy="SPREAD"
        )
        self.make = partial(kind.remote, engine.recipe, spec, device, cpus, os.getcwd())
        self.idle: list[Any] = []  # actors, as often as they could take a task
        self.flying: dict[Any, tuple[Any, list[Block]]] = {}  # result → actor, its blocks
        self.counts: dict[str, Counts] = {}  # by actor

    def __enter__(self) -> _RayPool:
        return self

    def __exit__(self, *_: object) -> None:
        for actor in {*self.idle, *(actor for actor, _ in self.flying.values())}:
            self.ray.kill(actor)

    def parts(self) -> Iterator[tuple[int, bytes]]:
        """Finished parts as they come, packed."""
        for _ in range(self.count):
            self._spawn()
        while self.pending.waiting or any(blocks for _, blocks in self.flying.values()):
            start = monotonic()
            results = self.ray.wait(list(self.flying), timeout=TICK)[0]
            self._mind_silence(min(monotonic() - start, TICK))
            for result in results:
                if result in self.flying:  # its actor has not gone a moment ago
                    yield from self._land(result)
            self._deal()

    def _spawn(self) -> None:
        """Ask for an actor. Where there is no room for it now, the others go on meanwhile."""
        actor = self.make()
        self.flying[actor.open.remote()] = actor, []

    def _deal(self) -> None:
        while self.idle and self.pending.waiting:
            actor, blocks = self.idle.pop(0), self.pending.take(self.stretch)
            given = [(number, packed(rows)) for number, rows in with_rows(self.table, blocks)]
            self.flying[actor.work.remote(given)] = actor, blocks

    def _land(self, result: Any) -> Packed:
        actor, blocks = self.flying.pop(result)
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

    def _mind_silence(self, waited: float) -> None:
        """Replace who stands still. Actors that wait for room or for a task may do so."""
        busy = {actor for actor, blocks in self.flying.values() if blocks}
        for actor in self.watch.silent(busy, waited, self.pending.silence):
            self.pending.hung(self._gone(actor), CLUSTER)

    def _gone(self, actor: Any) -> list[Block]:
        """An actor died, stands still, or its machine died; what it held. Another one is hired."""
        self.idle = [other for other in self.idle if other != actor]
        blocks = []
        for result in [r for r, (other, _) in self.flying.items() if other == actor]:
            blocks += self.flying.pop(result)[1]
        with suppress(self.ray.exceptions.RayError):
            self.ray.kill(actor)  # it may only have been out of reach
        self._spawn()
        return blocks


def _enter(folder: str) -> None:
    """Relative paths start where they do for the driver."""
    try:
        os.chdir(folder)
    except OSError as error:
        raise EncoderError(
            f"{folder} cannot be entered on {os.uname().nodename} ({error.strerror}); the data "
            "must lie under the same path on all machines of the cluster"
        ) from error


def shares(nodes: list[dict[str, float]], cuda: bool, processes: int | None) -> tuple[int, int]:
    """How many actors, and how many cores each: one for a GPU, or for a machine's cores.

    ``nodes`` are the resources of each machine as Ray counts them. Raises OptionError when none
    has what is asked for.
    """
    able = [node for node in nodes if node.get("GPU" if cuda else "CPU", 0) >= 1]
    if not able:
        lacking = "a GPU; --device cpu" if cuda else "a free core"
        raise OptionError(f"no machine of the Ray cluster has {lacking}")
    if cuda:
        cpus = min(int(node.get("CPU", 1)) // int(node["GPU"]) for node in able)
        return processes or sum(int(node["GPU"]) for node in able), max(1, cpus)
    each = ceil(processes / len(able)) if processes else 1
    cpus = max(1, min(int(node["CPU"]) for node in able) // each)
    return processes or sum(int(node["CPU"]) // cpus for node in able), cpus


def actor_device(device: str, nodes: list[dict[str, float]]) -> str:
    """Where actors encode: ``auto`` means GPUs where a machine of the cluster has one."""
    if device != AUTO:
        return device
    return "cuda" if any(node.get("GPU", 0) >= 1 for node in nodes) else "cpu"


def coordinator_device(device: str) -> str:
    """Where the driver opens its own encoder, to measure: it may have no GPU."""
    if device == "cuda":
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def _must_listen(address: str | None) -> None:
    """Of HOST:PORT, where Ray itself would go on trying for more than a minute."""
    host, _, port = (address or "").rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise OptionError(f"--ray-address {address}: nothing listens there ({error})") from error


@contextmanager
def _cluster(address: str | None) -> Iterator[Any]:
    """The ray module, connected: as the caller has done, to ``address``, or to a local cluster."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    import ray

    ours = not ray.is_initialized()
    if ours:
        own: dict[str, Any] = {} if address else {"num_cpus": cores(), "include_dashboard": False}
        try:
            ray.init(
                address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **own
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = first_line(error)
            raise OptionError(f"--ray-address {address}: no cluster answers ({reason})") from error
    try:
        yield ray
    finally:
        if ours:
            ray.shutdown()
