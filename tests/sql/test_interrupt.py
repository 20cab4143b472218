"""What stops a query of DuckDB: it may look for signals late, so it is told of them."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest

from mmx.sql_interrupt import interruptible


class Query:
    """What ``interruptible`` takes of a cursor."""

    def __init__(self) -> None:
        self.interrupted = threading.Event()

    def interrupt(self) -> None:
        self.interrupted.set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_ends_the_program_ends_the_query(number: signal.Signals) -> None:
    query: Any = Query()
    before = signal.signal(number, lambda *_: None)  # as Python's own handler has not run yet
    try:
        with interruptible(query):
            signal.raise_signal(number)
            assert query.interrupted.wait(60)
    finally:
        signal.signal(number, before)


def test_another_signal_does_not() -> None:
    query: Any = Query()
    before = signal.signal(signal.SIGWINCH, lambda *_: None)
    try:
        with interruptible(query):
            signal.raise_signal(signal.SIGWINCH)
        assert not query.interrupted.is_set()  # its watcher has seen all of them
    finally:
        signal.signal(signal.SIGWINCH, before)
