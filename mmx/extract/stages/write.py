"""Write finished blocks in a thread of their own, one block behind the encoder."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pyarrow as pa

from mmx.extract.stages.progress import Progress

Write = Callable[[int, pa.Table], None]  # a part's number and its rows


class Writer:
    """Gives blocks to ``write`` in order (a context manager that waits for the last one)."""

    def __init__(self, write: Write, state: Progress) -> None:
        self.write, self.state = write, state
        self._pool = ThreadPoolExecutor(1, "write")
        self._last: Future[None] | None = None

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Blocks that were put are still written after an error elsewhere."""
        self._pool.shutdown(wait=True)
        if kind is None:
            self.check()

    def put(self, number: int, rows: Callable[[], pa.Table]) -> None:
        """Take a block once the one before is written. ``rows`` is called in the thread."""
        if self._last is not None:
            with self.state.waiting("writing"):
                self._last.result()
        self._last = self._pool.submit(self._run, number, rows)

    def check(self) -> None:
        """Raise the error of the thread if it had one."""
        if self._last is not None and self._last.done():
            self._last.result()

    def _run(self, number: int, rows: Callable[[], pa.Table]) -> None:
        table = rows()
        with self.state.working("writing", table.num_rows):
            self.write(number, table)
