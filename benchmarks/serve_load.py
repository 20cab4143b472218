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

import httpx2
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
    limits = httpx2.Limits(max_connections=given.clients, max_keepalive_connections=given.clients)
    async with httpx2.AsyncClient(base_url=base, limits=limits, timeout=60) as client:
        ones = [one(client, Random(n), given, end, measured) for n in range(given.clients)]
        await asyncio.gather(*ones)
    return measured


async def one(
    client: httpx2.AsyncClient, rng: Random, given: argparse.Namespace, end: float,
    measured: Measured,
) -> None:  # fmt: skip
    """One client: users and items drawn evenly, so that hardly any comes twice."""
    await asyncio.sleep(rng.random() * given.pause)
    while time.perf_counter() < end:
        name = rng.choice(ADDRESSES)
        what = f"user-{rng.randrange(given.users)}"
        what = what if name == "recommend" else f"item-{rng.randrange(given.items)}"
        began = time.perf_counter()
        try:
            answer = await client.get(f"/{name}/{what}?k=20")
            measured.times[name].append(1000 * (time.perf_counter() - began))
            if answer.status_code != 200 or answer.content.count(b'"rank":') != 20:
                measured.errors[name].append(answer.text[:200])
        except httpx2.HTTPError as error:
            measured.errors[name].append(repr(error))
        await asyncio.sleep(given.pause * 2 * rng.random())


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
