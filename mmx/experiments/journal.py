"""What was started: work that kills its process (out of memory) is not started for ever."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mmx.atomic import write_text
from mmx.errors import RunError
from mmx.files import parse_json

STARTS = 2  # that may end with the process before the work counts as failed


class Journal:
    """OUT/started.json: how often each job was started without an end or progress."""

    def __init__(self, path: Path, *, forget: bool = False) -> None:
        """``forget`` starts with an empty journal. Raises RunError when the file is damaged."""
        self.path = path
        self.started: dict[str, int] = {}
        if path.exists() and not forget:
            self.started = _read(path)

    @contextmanager
    def attempt(self, name: str) -> Iterator[Callable[[], None]]:
        """Do the work inside; call the yielded function when it has advanced: a kill after that
        does not count.

        Raises RunError when it was started twice before and the process ended each time.
        """
        starts = self.started.get(name, 0)
        if starts >= STARTS:
            raise RunError(
                f"started {starts} times and the process ended each time (out of memory?); "
                "--retry-failed tries it again"
            )
        self._set(name, starts + 1)
        try:
            yield lambda: self._set(name, 1)
        finally:  # it ended, well or not, and the process is still alive
            self._set(name, 0)

    def _set(self, name: str, starts: int) -> None:
        if self.started.get(name, 0) == starts:
            return
        self.started[name] = starts
        self.started = {key: count for key, count in self.started.items() if count}
        write_text(self.path, json.dumps(self.started, indent=2) + "\n")


def _read(path: Path) -> dict[str, int]:
    """What was started, as it was written."""
    try:
        found = parse_json(path.read_bytes())
    except (OSError, ValueError):
        found = None
    if isinstance(found, dict) and all(type(count) is int for count in found.values()):
        return found
    raise RunError(f"{path} is damaged; --retry-failed begins a new one")
