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
                fs.modified = lambda path: EPOCH  # DuckDB wants it, and fsspec does not know
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
    """An open file that several threads read, at their own positions or from the last read on.

    DuckDB reads a Parquet file from several threads, each of which seeks before it reads; a
    compressed CSV it reads without seeking, each time in another thread. fsspec's files have
    one position and one buffer, so a thread would get bytes from where another one has gone.
    """

    def __init__(self, file: Any) -> None:
        self._file, self._lock = file, threading.Lock()
        self._place = 0  # after the last seek or read
        self._sought: dict[int, int] = {}  # thread → where it went and has not read yet

    def seek(self, place: int) -> int:
        """Go to a place; the next read of this thread is there."""
        with self._lock:
            self._place = self._sought[threading.get_ident()] = place
        return place

    def tell(self) -> int:
        """Where a read without a seek begins."""
        return self._place

    def read(self, length: int = -1) -> bytes:
        """At most ``length`` bytes; all that follow by default."""
        me = threading.get_ident()
        with self._lock:
            if me not in self._sought:  # continues from the last read; earlier seeks are void
                self._sought.clear()
            self._file.seek(self._sought.pop(me, self._place))
            found: bytes = self._file.read(length)
            self._place = self._file.tell()
        return found

    def close(self) -> None:
        """Close the file, for all threads."""
        self._file.close()
