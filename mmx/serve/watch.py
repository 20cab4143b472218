"""A newer run, store or items table is loaded next to what is served, and taken whole.

Files are looked at every second. What is served stays while the new is read, and when it cannot
be read; the reason is then in /health. Every request keeps the snapshot that it began with.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmx.errors import MmxError, RunError, first_line
from mmx.files import Place, is_url
from mmx.recommend.run_config import config_of
from mmx.serve.options import ServeOptions
from mmx.serve.service import Service
from mmx.serve.snapshot import Snapshot, data_place, load, store_places

EVERY = 1.0  # s between two looks
AGAIN = 30.0  # s after which what failed is tried again, though nothing has changed since
WATCHED = (".parquet", ".csv", ".tar")
TRIES = 3  # of a load during which something changes

Signature = tuple[tuple[str, int, int, int], ...]


def load_whole(
    options: ServeOptions, log: Callable[[str], None], before: Snapshot | None = None
) -> tuple[Snapshot, Signature]:
    """A snapshot of files none of which was replaced while they were read.

    Raises an MmxError where that cannot be.
    """
    for _ in range(TRIES):
        began = signature(options)
        found = load(options, log, before)
        if began == signature(options):
            return found, began
    raise RunError("the run or the store changes while it is read")


def signature(options: ServeOptions) -> Signature:
    """Of each watched file or folder its place, inode, size and time of change."""
    return tuple(sorted({_facts(path) for path in _watched(options)}))


def _watched(options: ServeOptions) -> Iterator[Path]:
    for run in options.runs:
        yield from (run, run / "config.json")
    places: list[Place | str | None] = [*options.stores, options.data]
    with suppress(MmxError, OSError, ValueError):  # loading says what is wrong with it
        config = config_of(options.runs[0])
        places += [*store_places(options, config), data_place(options, config)]
    for place in places:
        if place is not None and not is_url(str(place)):
            yield from _files(Path(str(place)))


def _files(path: Path) -> Iterator[Path]:
    yield path
    with suppress(OSError):  # it may go while it is listed; loading says what is wrong with it
        if path.is_dir():
            yield from [inner for inner in path.iterdir() if inner.suffix in WATCHED]


def _facts(path: Path) -> tuple[str, int, int, int]:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return str(path), 0, 0, 0
    return str(path.absolute()), found.st_ino, found.st_size, found.st_mtime_ns


class Watcher:
    """A thread that swaps what a service serves."""

    def __init__(
        self, service: Service, served: Signature, log: Callable[[str], None], every: float = EVERY
    ) -> None:
        self._service, self._log, self._every = service, log, every
        self._seen = served
        self._tried = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="mmx-watch", daemon=True)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch while the block runs."""
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()

    def _watch(self) -> None:
        while not self._stop.wait(self._every):
            if self.look():
                settle()

    def look(self) -> bool:
        """Swap if something is newer; whether it did."""
        service = self._service
        now = signature(service.options)
        failed = service.problem is not None
        if now == self._seen and not (failed and time.monotonic() - self._tried > AGAIN):
            return False
        self._seen, self._tried = now, time.monotonic()
        try:
            snapshot, self._seen = load_whole(service.options, self._log, service.snapshot)
        except Exception as error:
            service.problem = first_line(error)
            self._log(f"still serving what was there: {service.problem}")
            return False
        service.swap(snapshot)
        self._log(f"serving {snapshot.first.name} of {snapshot.first.made:%Y-%m-%d %H:%M:%S} UTC")
        return True


def settle() -> None:
    """Exempt all that is loaded from the garbage collector, which would visit it again and again.

    What was exempted before is looked at once more: of an old snapshot some may be garbage now.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
