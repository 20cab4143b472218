"""What was started: work that kills its process (out of memory) is not begun for ever."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mmx.cache.files import write_text
from mmx.errors import RunError

STARTS = 2  # that may end with the process before the work counts as failed


class Journal:
    """OUT/started.json: how often each piece of work was started and neither ended nor got on."""

    def __init__(self, path: Path, *, forget: bool = False) -> None:
        """``forget`` gives everything another chance."""
        self.path = path
        self.started: dict[str, int] = {}
        if path.exists() and not forget:
            self.started = json.loads(path.read_text(encoding="utf-8"))

    @contextmanager
    def attempt(self, name: str) -> Iterator[Callable[[], None]]:
        """Do the work inside; call what is given when it got on, so that a kill then is no fault.

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
        finally:  # it ended, well or not, and the process still lives
            self._set(name, 0)

    def _set(self, name: str, starts: int) -> None:
        if self.started.get(name, 0) == starts:
            return
        self.started[name] = starts
        self.started = {key: count for key, count in self.started.items() if count}
        write_text(self.path, json.dumps(self.started, indent=2) + "\n")


@contextmanager
def only_one(out: Path) -> Iterator[None]:
    """Hold the folder. Raises RunError when another process does or it cannot be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = os.open(out / ".lock", os.O_CREAT | os.O_RDWR)
    except OSError as error:
        raise RunError(f"cannot write {out}: {error.strerror}; set --out elsewhere") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise RunError(f"another process works in {out}; wait or set --out elsewhere") from error
    finally:
        os.close(lock)
