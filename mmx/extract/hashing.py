"""Have the inputs of items that have a finished row changed since?"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import pyarrow as pa

from mmx.extract.planning import pairs, rows_of
from mmx.extract.stages.load import Loader
from mmx.extract.stages.progress import Progress
from mmx.extract.stages.run import cores

T = TypeVar("T")


def present_states(
    loader: Loader,
    table: pa.Table,
    here: np.ndarray,
    decode_threads: int | None,
    state: Progress,
    progress: Callable[[Progress], None],
) -> tuple[pa.Array, pa.Array]:
    """(n,) hashes and (n,) statuses of unread pictures, see Loader.state, of a table of n items.

    Only of the rows ``here``; both are null elsewhere.
    """
    state.stage, state.total = "check", len(here)
    found = np.full((2, len(table)), None, dtype=object)
    decode_threads = decode_threads or cores()
    inputs = rows_of(table.select(["image", "text"]), here)
    with ThreadPoolExecutor(decode_threads) as pool:
        work = _ahead(pool, loader.state, pairs(inputs), 64 * decode_threads)
        for place, future in zip(here, work, strict=True):
            found[:, place] = future.result()
            state.done += 1
            progress(state)
    hashes, unread = (pa.array(values, pa.string()) for values in found)
    return hashes, unread


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
