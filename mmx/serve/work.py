"""Computing off the event loop: bounded pools, and batches of what waits for the same.

A pool has so many threads, and so many requests may wait for one; the next is answered 503 at
once. ``Batches`` are for what costs little more for many than for one, as an exact search does:
requests that arrive while the pool computes are then computed together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
TOGETHER = 64  # requests computed at once


class BusyError(Exception):
    """So many requests wait that one more is refused."""


class Pool:
    """Threads, and how many requests may wait for them."""

    def __init__(self, name: str, threads: int, waiting: int) -> None:
        self.name, self.most = name, threads + waiting
        self.inside = 0  # requests that compute or wait
        self._free = asyncio.Semaphore(threads)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=f"mmx-{name}")

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """What ``work`` returns. Raises BusyError, and what it raises."""
        self.enter()
        try:
            return await self.compute(lambda: (work, arguments))
        finally:
            self.inside -= 1

    def enter(self) -> None:
        """Count one more request. Raises BusyError."""
        if self.inside >= self.most:
            raise BusyError
        self.inside += 1

    async def compute(self, job: Callable[[], tuple[Callable[..., T], tuple[Any, ...]]]) -> T:
        """Wait for a thread, ask what to do, and do it there."""
        async with self._free:
            work, arguments = job()
            loop = asyncio.get_running_loop()
            done = loop.run_in_executor(self._threads, work, *arguments)
            return await asyncio.shield(done)

    def close(self) -> None:
        """Take nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class Batches:
    """Requests of one pool, those of a key together."""

    def __init__(self, pool: Pool, together: int = TOGETHER) -> None:
        self._pool, self._together = pool, together
        self._waiting: dict[Hashable, list[tuple[Any, asyncio.Future[Any]]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(
        self, key: Hashable, work: Callable[[Sequence[Any]], Sequence[Any]], one: Any
    ) -> Any:
        """What ``work`` makes of ``one`` among others of the key. Raises BusyError."""
        self._pool.enter()
        try:
            answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            waiting = self._waiting.setdefault(key, [])
            waiting.append((one, answer))
            if len(waiting) == 1:
                self._start(key, work)
            return await answer
        finally:
            self._pool.inside -= 1

    def _start(self, key: Hashable, work: Callable[[Sequence[Any]], Sequence[Any]]) -> None:
        task = asyncio.create_task(self._computed(key, work))
        self._tasks.add(task)  # the loop itself keeps none
        task.add_done_callback(self._tasks.discard)

    async def _computed(
        self, key: Hashable, work: Callable[[Sequence[Any]], Sequence[Any]]
    ) -> None:
        mine: list[tuple[Any, asyncio.Future[Any]]] = []

        def job() -> tuple[Callable[..., Any], tuple[Any, ...]]:
            waiting = self._waiting.pop(key)
            mine.extend(waiting[: self._together])
            if rest := waiting[self._together :]:
                self._waiting[key] = rest
                self._start(key, work)
            return work, ([one for one, _ in mine],)

        try:
            found = await self._pool.compute(job)
        except BaseException as error:
            for _, answer in mine or self._waiting.pop(key, []):  # no thread: nobody took them
                if not answer.done():
                    answer.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for (_, answer), each in zip(mine, found, strict=True):
            if not answer.done():  # its client has gone
                answer.set_result(each)
