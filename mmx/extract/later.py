"""What is computed or awaited beside the main thread while an encoder is opened."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")
SILENT = 2.0  # s without a sign of life, at most


class Later(Generic[T]):
    """A call in a thread of its own, which does not keep the process from ending."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function, self._done = function, Future[T]()
        threading.Thread(target=self._run, daemon=True).start()

    def result(self) -> T:
        """What the call returned, when it has; raises what it raised."""
        return self._done.result()

    def _run(self) -> None:
        try:
            self._done.set_result(self._function())
        except BaseException as error:
            self._done.set_exception(error)


@contextmanager
def sign_of_life(log: Callable[[str], None], line: str, after: float = SILENT) -> Iterator[None]:
    """``log`` gets the line when the block takes longer than ``after`` seconds."""
    timer = threading.Timer(after, log, (line,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
