"""Let DuckDB read remote Parquet files through their own fsspec file systems."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from mmx.files import Place, RemotePath

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def attach(connection: Any, places: Iterable[Place]) -> None:
    """Let a DuckDB connection read remote places; those of this machine need nothing."""
    known = connection.list_filesystems()
    for place in places:
        if isinstance(place, RemotePath) and place.scheme not in known:
            fs = type(place.fs)(use_listings_cache=False, skip_instance_cache=True)
            fs.protocol = place.scheme  # DuckDB takes the first of several, which may be another
            if place.scheme in ("http", "https"):
                fs.modified = lambda path: EPOCH  # DuckDB asks, and fsspec does not know
            _share_files(fs)
            connection.register_filesystem(fs)
            known.append(place.scheme)


def _share_files(fs: Any) -> None:
    open_alone = fs.open

    def open_shared(path: str, mode: str = "rb", **options: Any) -> Any:
        file = open_alone(path, mode, **options)
        return SharedFile(file) if mode == "rb" else file

    fs.open = open_shared


class SharedFile:
    """An open file in which every thread has its own position.

    DuckDB seeks and reads in one file from several threads; fsspec's files have one position
    and one buffer for all of them, so that a thread would get bytes from another's place.
    """

    def __init__(self, file: Any) -> None:
        self._file, self._lock, self._mine = file, threading.Lock(), threading.local()

    def seek(self, place: int, whence: int = 0) -> int:
        """Go to a place, for this thread alone."""
        with self._lock:
            if whence == 1:
                place += self.tell()
            elif whence == 2:
                place = self._file.seek(place, whence)
            self._mine.place = place
            return place

    def tell(self) -> int:
        """Where this thread is."""
        return int(getattr(self._mine, "place", 0))

    def read(self, length: int = -1) -> bytes:
        """At most ``length`` bytes from this thread's place on; all that follow by default."""
        with self._lock:
            self._file.seek(self.tell())
            found: bytes = self._file.read(length)
        self._mine.place = self.tell() + len(found)
        return found

    def close(self) -> None:
        """Close the file, for all threads."""
        self._file.close()
