"""``benchmarks/serve.py --server``: clients of a real ``mmx serve`` on loopback."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from search import made

from mmx.data.splits import SplitRule
from mmx.recommend.fit import fit
from mmx.recommend.job import TrainJob
from mmx.recommend.options import TrainOptions

EACH = 10  # items that a user took
ADDRESSES = ("recommend", "similar")


@dataclass
class Measured:
    """Milliseconds of the answers by address, and what was not an answer of k items."""

    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def load_test(given: argparse.Namespace) -> None:
    """Make what is served, serve it, ask, and print."""
    with tempfile.TemporaryDirectory(prefix="mmx-load-") as temporary:
        folder = given.folder or Path(temporary)
        run, store = shop(folder, given.items, given.users, given.dim)
        command = [
            sys.executable,
            "-m",
            "mmx",
            "serve",
            str(run),
            "--store",
            str(store),
            "--port",
            "0",
        ]
        server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            base = address(server)
            asyncio.run(asked(base, given, 3))  # what is read for the first time
            before, load = used_by(server), os.getloadavg()[0]
            own = time.process_time()
            began = time.perf_counter()
            measured = asyncio.run(asked(base, given, given.seconds))
            seconds = time.perf_counter() - began
            own, theirs = time.process_time() - own, used_by(server) - before
            show(measured, seconds)
            count = sum(map(len, measured.times.values()))
            print(f"{1000 * theirs / max(count, 1):.2f} ms of CPU a request in the server")
            print(f"cores used: server {theirs / seconds:.2f}, clients {own / seconds:.2f}, "
                  f"of {os.cpu_count()}; load average {load:.1f} before, "
                  f"{os.getloadavg()[0]:.1f} after")  # fmt: skip
        finally:
            server.terminate()
            server.wait()
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(f"peak of the server {peak / 1e6:.2f} GB")


def shop(folder: Path, items: int, users: int, dim: int) -> tuple[Path, Path]:
    """A run of VBPR after one epoch, and the store of random vectors that it was trained with."""
    store, _ = made(folder, items, dim)
    run, place = folder / f"run-{items}-{users}-{dim}", Path(str(store.path))
    if run.exists():
        return run, place
    rng = np.random.default_rng(0)
    ids = [f"item-{n}" for n in range(items)]
    data = folder / "data"
    data.mkdir(exist_ok=True)
    pq.write_table(pa.table({
        "item_id": ids,
        "image": pa.nulls(items, pa.string()),
        "title": [f"Thing number {n}" for n in range(items)],
        "text": [f"A thing of which it is said that it is number {n}. " * 4 for n in range(items)],
        "price": rng.lognormal(3, 1, items).round(2),
        "category": [f"category {n}" for n in rng.integers(0, 40, items)],
    }), data / "items.parquet")  # fmt: skip
    taken = (items * rng.random(users * EACH) ** 3).astype(np.int64)
    who = np.repeat(np.arange(users), EACH)
    pairs = np.unique(np.stack([who, taken], 1), axis=0)
    pq.write_table(pa.table({
        "user_id": [f"user-{n}" for n in pairs[:, 0]],
        "item_id": [ids[n] for n in pairs[:, 1]],
    }), data / "interactions.parquet")  # fmt: skip
    job = TrainJob(data, "vbpr", [store.path], split=SplitRule(k_core=0),
                   training=TrainOptions(epochs=1))  # fmt: skip
    fit(job, run, log=lambda line: None)
    return run, place


def address(server: subprocess.Popen[str]) -> str:
    """Where it says that it serves; what else it says is dropped from then on."""
    assert server.stderr is not None
    for line in server.stderr:
        if found := re.search(r"serving \S+ at (http://\S+)", line):
            return found[1]
    raise SystemExit(f"the server ended with {server.wait()}")


async def asked(base: str, given: argparse.Namespace, seconds: float) -> Measured:
    """All clients at once; each asks again when it is answered, after --pause."""
    measured, end = Measured(), time.perf_counter() + seconds
    ones = [one(base, Random(n), given, end, measured) for n in range(given.clients)]
    await asyncio.gather(*ones)
    return measured


async def one(
    base: str, rng: Random, given: argparse.Namespace, end: float, measured: Measured
) -> None:
    """One client: users and items drawn evenly, so that hardly any comes twice."""
    await asyncio.sleep(rng.random() * given.pause)
    connection: Connection | None = None
    while time.perf_counter() < end:
        name = rng.choice(ADDRESSES)
        what = f"user-{rng.randrange(given.users)}"
        what = what if name == "recommend" else f"item-{rng.randrange(given.items)}"
        began = time.perf_counter()
        try:
            if connection is None or connection.ended:  # the server ends what is silent for 5 s
                connection = await Connection.to(base)
            async with asyncio.timeout(60):
                status, body = await connection.get(f"/{name}/{what}?k=20")
            measured.times[name].append(1000 * (time.perf_counter() - began))
            if status != 200 or body.count(b'"rank":') != 20:
                measured.errors[name].append(f"{status} {body[:200]!r}")
        except (OSError, EOFError, ValueError) as error:
            measured.errors[name].append(repr(error))
            connection = None
        await asyncio.sleep(given.pause * 2 * rng.random())


class Connection:
    """A connection that is kept, with no more of HTTP than the server's answers need.

    A client library takes more of the machine than is left beside the server.
    """

    def __init__(self, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self._rest = f" HTTP/1.1\r\nHost: {host}\r\n\r\n"
        self._reader, self._writer = reader, writer

    @classmethod
    async def to(cls, base: str) -> Connection:
        """A new one."""
        host = base.removeprefix("http://")
        name, _, port = host.rpartition(":")
        return cls(host, *await asyncio.open_connection(name, int(port)))

    async def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of an answer."""
        self._writer.write(f"GET {path}{self._rest}".encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: ([0-9]+)\r\n", head)
        if length is None:
            raise ValueError(f"an answer without its length: {head[:200]!r}")
        return int(head.split(b" ", 2)[1]), await self._reader.readexactly(int(length[1]))

    @property
    def ended(self) -> bool:
        """Whether the server has closed it."""
        return self._reader.at_eof()


def used_by(process: subprocess.Popen[str]) -> float:
    """CPU seconds of a process that runs."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def show(measured: Measured, seconds: float) -> None:
    """A line for each address."""
    for name in ADDRESSES:
        times, wrong = measured.times[name] or [float("nan")], measured.errors[name]
        p50, p95, p99 = np.percentile(times, [50, 95, 99])
        print(f"{name}: {len(times)} answers, {len(wrong)} errors, {len(times) / seconds:.0f} a "
              f"second, p50 {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms")  # fmt: skip
        for line in wrong[:3]:
            print(f"  {line}")
