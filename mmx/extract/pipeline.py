"""Stage 1: items in, embedding store out.

The items table is cut into blocks of fixed size. Threads read, decode and resize ahead while
the encoder works; a block whose rows are all encoded becomes a part, written atomically.
Batches never cross a block, so that a killed and continued run encodes the very same batches
as an undisturbed one and ends in the same bytes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmx.cache.merge import RowSource, merge
from mmx.cache.parts import Parts, discard
from mmx.cache.plan import Plan, locate, make_plan
from mmx.cache.schema import MISSING, OK, inputs, metadata, status_columns, store_schema
from mmx.cache.store import open_store
from mmx.data.dataset import Items
from mmx.errors import OptionError, StoreError
from mmx.extract.block import BlockEncoder, Progress, as_table
from mmx.extract.encoder import Encoder
from mmx.extract.inputs import Loader

T = TypeVar("T")

LOOK_AHEAD = 4  # batches that may be decoded and wait for the encoder


@dataclass(frozen=True)
class ExtractOptions:
    """How to run; none of these changes what a vector means."""

    batch_size: int = 32  # items
    workers: int = 2  # decoding threads
    part_size: int = 512  # rows of a part: what a kill can cost at most
    dtype: str = "float32"  # of the stored numbers: float32 or float16
    retry_failed: bool = False  # encode rows with a failure again, though their input is the same
    overwrite: bool = False  # forget an existing store and its unfinished parts
    prune: bool = False  # drop rows of items that the items table no longer has

    def __post_init__(self) -> None:
        for name in ("batch_size", "workers", "part_size"):
            if getattr(self, name) < 1:
                raise OptionError(f"--{name.replace('_', '-')} must be at least 1")
        if self.overwrite and self.retry_failed:
            raise OptionError("--overwrite encodes everything again; drop --retry-failed")


@dataclass
class ExtractReport:
    """What an extraction did."""

    store: Path
    items: int
    encoded: int = 0
    reused: int = 0
    removed: int = 0
    seconds: float = 0.0
    bottleneck: str = "encoding"
    statuses: dict[str, dict[str, int]] = field(default_factory=dict)  # modality → status → rows

    @property
    def failures(self) -> dict[str, int]:
        """Rows that could not be encoded, by "modality: reason"; most frequent first."""
        return {
            f"{modality}: {status}": rows
            for modality, statuses in self.statuses.items()
            for status, rows in statuses.items()
            if status not in (OK, MISSING)
        }


def extract(
    items: Items,
    encoder: Encoder,
    out: Path,
    options: ExtractOptions | None = None,
    progress: Callable[[Progress], None] = lambda p: None,
) -> ExtractReport:
    """Encode what ``out`` does not hold yet and leave a complete store there.

    Raises StoreError when ``out`` is of another encoder or of other items, is being written
    by another process, or cannot be written; EncoderError when the encoder returns rubbish.
    """
    start, job = time.perf_counter(), _Job(items, encoder, out, options or ExtractOptions())
    job.check_target()
    if job.options.overwrite:
        discard(out)
    with Parts(out, encoder.card, job.options.dtype) as parts:
        plan = job.plan(parts, progress)
        report = ExtractReport(out, len(items), int(plan.encode.sum()), plan.reused, plan.removed)
        if plan.encode.any() or plan.removed or parts.files() or not out.exists():
            job.encode(plan, parts, progress)
            job.merge(parts, progress)
        parts.remove()
    report.seconds, report.bottleneck = time.perf_counter() - start, job.state.bottleneck
    report.statuses = open_store(out).status_counts()
    return report


@dataclass
class _Job:
    """One extraction: what is fixed from its beginning, and its three stages."""

    items: Items
    encoder: Encoder
    out: Path
    options: ExtractOptions

    def __post_init__(self) -> None:
        card = self.encoder.card
        self.schema = store_schema(card, self.options.dtype)
        self.loader = Loader(self.items.directory, self.encoder.image_rule, "text" in inputs(card))
        self.state = Progress()

    def check_target(self) -> None:
        """Refuse, before any work, a target that must not be touched."""
        if not len(self.items):
            raise StoreError(f"{self.items.path} has no rows; there is nothing to extract")
        if not self.out.exists() or self.options.overwrite:
            return
        store = open_store(self.out)
        differing = store.card.differences(self.encoder.card)
        if differing:
            raise StoreError(
                f"{self.out} was made by {store.card.name} ({store.card.precision}) and differs "
                f"in {', '.join(differing)}; set --out elsewhere, or --overwrite"
            )
        if store.dtype != self.options.dtype:
            raise StoreError(
                f"{self.out} holds {store.dtype}; --dtype {store.dtype}, or --overwrite"
            )

    def plan(self, parts: Parts, progress: Callable[[Progress], None]) -> Plan:
        """Hash the inputs of items with a finished row and decide what to encode."""
        source = self._finished(parts)
        names = ["item_id", "content_hash", *status_columns(self.encoder.card)]
        finished = source.columns(names)
        source.close()
        have = pc.is_in(self.items.ids, value_set=finished["item_id"].combine_chunks())
        here = np.flatnonzero(have.to_numpy())
        if finished.num_rows and not len(here):
            raise StoreError(
                f"the finished rows of {self.out} are of other items, none is in "
                f"{self.items.path}; set --out elsewhere, or --overwrite"
            )
        hashes = pa.array(self._hashes(here, progress), pa.string())
        retry = self.options.retry_failed
        plan = make_plan(self.items.ids, finished, hashes, retry_failed=retry)
        if plan.removed and not self.options.prune:
            raise StoreError(
                f"{self.out} holds {plan.removed} items that {self.items.path} lacks; "
                "--prune drops them, --out elsewhere keeps them"
            )
        return plan

    def encode(self, plan: Plan, parts: Parts, progress: Callable[[Progress], None]) -> None:
        """Encode the planned rows block by block; each block becomes one part."""
        table, size = self.items.table, self.options.batch_size
        self.state.stage, self.state.done, self.state.total = "encode", 0, int(plan.encode.sum())
        progress(self.state)
        number = parts.next_number()
        blocks = list(_pending_blocks(plan, self.options.part_size))
        with ThreadPoolExecutor(self.options.workers) as pool:
            rows = (pair for block in blocks for pair in _pairs(table.take(pa.array(block))))
            loading = _ahead(pool, self.loader.load, rows, LOOK_AHEAD * size)
            for block in blocks:
                columns = BlockEncoder(self.encoder, size, self.state, progress).run(
                    loading, len(block)
                )
                ids = self.items.ids.take(pa.array(block)).combine_chunks()
                parts.write(number, as_table(ids, columns, self.schema))
                number += 1

    def merge(self, parts: Parts, progress: Callable[[Progress], None]) -> None:
        """Gather the rows of all items, in the order of the items table, into the store."""
        self.state.stage, self.state.done, self.state.total = "merge", 0, len(self.items)

        def advance(done: int) -> None:
            self.state.done = done
            progress(self.state)

        source = self._finished(parts)
        rows = locate(self.items.ids, source.columns(["item_id"]))
        facts = metadata(self.encoder.card, self.options.dtype, self.items.fingerprint())
        merge(self.out, source, rows, facts, block=self.options.part_size, progress=advance)
        source.close()

    def _finished(self, parts: Parts) -> RowSource:
        """All finished rows, the newest last."""
        old = self.out.exists() and not self.options.overwrite
        files = [*(open_store(self.out).files if old else ()), *parts.files()]
        return RowSource(files, self.schema)

    def _hashes(self, here: np.ndarray, progress: Callable[[Progress], None]) -> np.ndarray:
        """The present content hash of the items at ``here``; None elsewhere."""
        self.state.stage, self.state.total = "check", len(here)
        hashes = np.full(len(self.items), None, dtype=object)
        rows = _pairs(self.items.table.take(pa.array(here)))
        with ThreadPoolExecutor(self.options.workers) as pool:
            work = _ahead(pool, self.loader.hash, rows, 64 * self.options.workers)
            for place, future in zip(here, work, strict=True):
                hashes[place] = future.result()
                self.state.done += 1
                progress(self.state)
        return hashes


def _pending_blocks(plan: Plan, size: int) -> Iterator[np.ndarray]:
    """Row numbers to encode, grouped by the fixed blocks of the items table."""
    pending = np.flatnonzero(plan.encode)
    for _, group in _grouped(pending // size):
        yield pending[group]


def _grouped(keys: np.ndarray) -> Iterator[tuple[int, slice]]:
    edges = np.flatnonzero(np.diff(keys)) + 1
    for start, stop in zip([0, *edges], [*edges, len(keys)], strict=True):
        if stop > start:
            yield int(keys[start]), slice(int(start), int(stop))


def _pairs(table: pa.Table) -> Iterator[tuple[str | None, str | None]]:
    for batch in table.select(["image", "text"]).to_batches(max_chunksize=1024):
        yield from zip(batch["image"].to_pylist(), batch["text"].to_pylist(), strict=True)


def _ahead(
    pool: ThreadPoolExecutor,
    function: Callable[..., T],
    arguments: Iterable[tuple[str | None, str | None]],
    depth: int,
) -> Iterator[Future[T]]:
    """Futures in order, with at most ``depth`` of them under way or waiting to be taken."""
    queue: deque[Future[T]] = deque()
    for values in arguments:
        queue.append(pool.submit(function, *values))
        if len(queue) >= depth:
            yield queue.popleft()
    yield from queue
