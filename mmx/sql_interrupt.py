"""Ctrl-C and SIGTERM stop a query that computes.

Python runs its signal handlers between two steps of its own, so none while DuckDB computes, and
DuckDB looks for signals between some of its tasks only.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from mmx.packages import is_own_process


@contextmanager
def interruptible(cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Interrupt the cursor's query when SIGINT comes, in the thread that gets signals.

    SIGTERM, too, in a process of mmx's own: another program may mean something else by it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ends = (signal.SIGINT, *([signal.SIGTERM] if is_own_process() else []))
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)

    def watch() -> None:
        while number := ours.recv(1):
            if number[0] in ends:
                cursor.interrupt()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        theirs.close()  # which ends the watcher
        watcher.join()
        ours.close()
