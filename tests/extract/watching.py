"""Which files are opened and which connections are made while something runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_lists: list[list[str]] = []  # an audit hook cannot be taken out again, so one serves all


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _lists and (event == "open" or event.startswith("socket.")):
        for events in _lists:
            events.append(f"{event} {arguments}")


@contextmanager
def watched() -> Iterator[list[str]]:
    """Python's audit events of files and sockets, each as text, of the block."""
    if not getattr(sys, "_mmx_tests_watch", False):
        sys.addaudithook(_hook)
        sys._mmx_tests_watch = True  # type: ignore[attr-defined]
    events: list[str] = []
    _lists.append(events)
    try:
        yield events
    finally:
        _lists.remove(events)
