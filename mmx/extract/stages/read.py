"""Threads that read, none of which waits for a busy host while there is other work."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

READERS = 4  # threads that wait for a source which says nothing of itself


class Readers:
    """A pool of which no more than ``each`` threads are in one queue (a context manager).

    A queue is whatever answers a few at a time: a host of the web. Work that would have to wait
    for others of its queue is put aside, and the thread takes what comes next: a slow host
    costs its own pictures time and nobody else's.
    """

    def __init__(self, source: Any) -> None:
        """``source`` may have ``readers``, ``queue(image)`` and ``per_queue``, see
        mmx.extract.sources."""
        self.count = int(getattr(source, "readers", READERS))
        self.each = int(getattr(source, "per_queue", self.count))
        self.queue: Callable[[str], str | None] | None = getattr(source, "queue", None)
        self._pool = ThreadPoolExecutor(self.count, "read")
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()  # queue → work that a thread has or will take next
        self._aside: defaultdict[str, deque[Callable[[], None]]] = defaultdict(deque)

    def __enter__(self) -> Readers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.stop()
        self.join(interrupted=kind is not None and not issubclass(kind, Exception))

    def stop(self) -> None:
        """Begin nothing any more."""
        with self._lock:
            self._aside.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def join(self, interrupted: bool = False) -> None:
        """Wait for what is being read, but not if ``interrupted``: a host may take a minute."""
        if not interrupted:
            self._pool.shutdown(wait=True)

    def submit(self, image: str | None, run: Callable[..., Any], *given: Any) -> Future[Any]:
        """``run(*given)``, which reads ``image``, as soon as its queue has room."""
        queue = self.queue(image) if self.queue is not None and image is not None else None
        result: Future[Any] = Future()
        work = partial(self._do, queue, result, partial(run, *given))
        with self._lock:
            if queue is not None and self._open[queue] >= self.each:
                self._aside[queue].append(work)
                return result
            if queue is not None:
                self._open[queue] += 1
            self._pool.submit(work)
        return result

    def _do(self, queue: str | None, result: Future[Any], run: Callable[[], Any]) -> None:
        try:
            result.set_result(run())
        except BaseException as error:
            result.set_exception(error)
        if queue is not None:
            self._next(queue)

    def _next(self, queue: str) -> None:
        """Let the next of a queue go, or close it up."""
        with self._lock:
            if self._aside.get(queue):
                with suppress(RuntimeError):  # the pool takes nothing any more
                    self._pool.submit(self._aside[queue].popleft())
                return
            self._aside.pop(queue, None)
            self._open[queue] -= 1
            if not self._open[queue]:
                del self._open[queue]
