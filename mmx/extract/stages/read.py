"""Threads that read, none of which waits for a busy host while there is other work."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

from mmx.extract.sources.source import Source


class Readers:
    """A pool of which no more than ``source.per_host`` threads read from one host.

    A context manager. Work that would have to wait for others of its host is put aside, and the
    thread takes what comes next: a slow host delays its own pictures only.
    """

    def __init__(self, source: Source) -> None:
        self.source, self.count = source, source.readers
        self.each = source.per_host or source.readers  # threads of one host
        self._pool = ThreadPoolExecutor(self.count, "read")
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()  # host → work that a thread has or will take next
        self._aside: defaultdict[str, deque[Callable[[], None]]] = defaultdict(deque)

    def __enter__(self) -> Readers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.stop()
        self.join(interrupted=kind is not None and not issubclass(kind, Exception))

    def stop(self) -> None:
        """Start nothing more."""
        with self._lock:
            self._aside.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def join(self, interrupted: bool = False) -> None:
        """Wait for what is being read, but not if ``interrupted``: a host may take a minute."""
        if not interrupted:
            self._pool.shutdown(wait=True)

    def submit(self, image: str | None, run: Callable[..., Any], *given: Any) -> Future[Any]:
        """``run(*given)``, which reads ``image``, as soon as its host has room."""
        waits = self.source.has_hosts and image is not None
        host = self.source.host(str(image)) if waits else None
        result: Future[Any] = Future()
        work = partial(self._do, host, result, partial(run, *given))
        with self._lock:
            if host is not None and self._open[host] >= self.each:
                self._aside[host].append(work)
                return result
            if host is not None:
                self._open[host] += 1
            self._pool.submit(work)
        return result

    def _do(self, host: str | None, result: Future[Any], run: Callable[[], Any]) -> None:
        try:
            result.set_result(run())
        except BaseException as error:
            result.set_exception(error)
        if host is not None:
            self._next(host)

    def _next(self, host: str) -> None:
        """Start the next of those put aside for a host."""
        with self._lock:
            if self._aside.get(host):
                with suppress(RuntimeError):  # the pool is shut down
                    self._pool.submit(self._aside[host].popleft())
                return
            self._aside.pop(host, None)
            self._open[host] -= 1
            if not self._open[host]:
                del self._open[host]
