"""The content hashes of items that have a finished row: have their inputs changed since?"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import pyarrow as pa

from mmx.extract.inputs import Loader
from mmx.extract.planning import pairs, rows_of
from mmx.extract.progress import Progress
from mmx.extract.running import cores

T = TypeVar("T")


def content_hashes(
    loader: Loader,
    table: pa.Table,
    here: np.ndarray,
    workers: int | None,
    state: Progress,
    progress: Callable[[Progress], None],
) -> np.ndarray:
    """(n,) the present hash of the rows ``here`` of an items table of n; None elsewhere."""
    state.stage, state.total = "check", len(here)
    hashes = np.full(len(table), None, dtype=object)
    workers = workers or cores()
    with ThreadPoolExecutor(workers) as pool:
        work = _ahead(pool, loader.hash, pairs(rows_of(table, here)), 64 * workers)
        for place, future in zip(here, work, strict=True):
            hashes[place] = future.result()
            state.done += 1
            progress(state)
    return hashes


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
