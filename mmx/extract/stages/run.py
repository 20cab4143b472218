"""Encode blocks: read, decode, encode and write at the same time.

It knows neither stores nor plans: blocks come in, tables go to ``write``. So the same function
serves one process, and each of several that get their blocks one by one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import tee

import pyarrow as pa

from mmx.extract.encoder import Encoder
from mmx.extract.planning import BlockRows, pairs
from mmx.extract.stages.block import BlockEncoder
from mmx.extract.stages.feed import Feeder
from mmx.extract.stages.load import Loader
from mmx.extract.stages.passes import Lanes, Passes
from mmx.extract.stages.progress import Progress
from mmx.extract.stages.takeover import Takeover
from mmx.extract.stages.write import Write, Writer


def run_blocks(
    encoder: Encoder,
    loader: Loader,
    blocks: Iterable[BlockRows],
    schema: pa.Schema,
    write: Write,
    *,
    batch_size: int,
    decode_threads: int | None = None,
    decode_processes: int | None = 0,
    state: Progress | None = None,
    progress: Callable[[Progress], None] = lambda state: None,
) -> None:
    """Encode blocks, each given with its rows, and give them to ``write`` in their order.

    The next of the ``blocks`` is taken, in the caller's thread, some batches before it is needed.
    Batches never cross a block, so what a block becomes depends only on itself and the batch
    size. ``decode_threads`` decode (None: one for each core), or ``decode_processes``; 0: none,
    None: automatic, which needs ``state.total`` (mmx.extract.stages.takeover); of either no more
    than there are cores. An error in any thread ends the run and is raised here; blocks that were
    finished before it are written.
    """
    state = state or Progress()
    hardware, threads = encoder.hardware, min(decode_threads or cores(), cores())
    takeover = Takeover(
        loader, batch_size, state, processes=decode_processes and min(decode_processes, cores()),
        threads=threads, cores=min(max(2, threads), cores()),
        gpu=str(hardware.device).startswith("cuda"), page_locked=hardware.page_locked,
    )  # fmt: skip
    blocks, ahead = tee(blocks)
    inputs = (list(pairs(rows)) for _, rows in ahead)
    feeder = Feeder(
        loader, inputs, batch_size, threads, state,
        allocate=hardware.pixel_buffer, takeover=takeover,
    )  # fmt: skip
    passes = Passes(encoder, state)
    with (
        hardware.session() as count,
        takeover,
        Writer(write, state) as writer,
        Lanes(count, state) as lanes,
        ThreadPoolExecutor(1, "tokenize") as tokenizer,
        feeder,
    ):
        batches = iter(feeder)
        for number, rows in blocks:
            encoding = BlockEncoder(passes, lanes, tokenizer, len(rows))
            for done in encoding.feed(batches, batch_size):
                state.done += done
                writer.check()
                progress(state)
            ids = rows["item_id"].combine_chunks()
            writer.put(number, partial(encoding.table, ids, schema))
        lanes.drain()


def cores() -> int:
    """Processor cores that this process may use."""
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1
