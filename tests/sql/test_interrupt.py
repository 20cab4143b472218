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


@pytest.mark.parametrize(
    ("number", "own", "ends"),
    [
        (signal.SIGINT, False, True),
        (signal.SIGTERM, True, True),
        (signal.SIGTERM, False, False),  # a host program's own business
        (signal.SIGWINCH, True, False),
    ],
)
def test_a_signal_that_ends_the_program_ends_the_query(
    number: signal.Signals, own: bool, ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    query: Any = Query()
    monkeypatch.setattr("mmx.sql_interrupt.is_own_process", lambda: own)
    before = signal.signal(number, lambda *_: None)  # as Python's own handler has not run yet
    try:
        with interruptible(query):
            signal.raise_signal(number)
            if ends:
                assert query.interrupted.wait(60)
        assert query.interrupted.is_set() == ends  # its watcher has seen all of them
    finally:
        signal.signal(number, before)
