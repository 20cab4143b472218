"""Pictures in tar shards, read at the offsets in the items table."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path

from mmx.errors import DataError
from mmx.extract.reasons import ImageError, Reason
from mmx.extract.sources.paths import MAX_BYTES
from mmx.extract.sources.source import READERS, Source
from mmx.files import Place, open_regular

MEMBER = r"(.+)@(\d+)\+(\d+)"  # name of a shard, first byte, number of bytes


class Members(Source):
    """Reads ``000.tar@1536+20480``: 20480 bytes from byte 1536 of a shard in ``folder``."""

    def __init__(self, folder: Place) -> None:
        self.folder = folder
        self.anywhere = isinstance(folder, Path)
        self.readers = READERS if self.anywhere else 16
        self._open = lru_cache(maxsize=64)(Shard)

    def __reduce__(self) -> tuple[type[Members], tuple[Place]]:
        return Members, (self.folder,)

    def __call__(self, image: str, /) -> bytes:
        """The encoded picture."""
        found = re.fullmatch(MEMBER, image)
        if found is None:
            raise ImageError(Reason.NO_MEMBER)
        start, size = int(found[2]), int(found[3])
        if size > MAX_BYTES:
            raise ImageError(Reason.TOO_LARGE, f"{size} bytes")
        place = self.folder / found[1]
        try:
            if isinstance(place, Path):
                data = self._open(place).read(start, size)
            else:
                data = place.read_bytes(start, start + size)
        except FileNotFoundError:
            raise ImageError(Reason.NO_SHARD) from None
        except (OSError, DataError) as error:
            raise ImageError(Reason.SHARD_UNREADABLE, error) from error
        if len(data) < size:
            raise ImageError(Reason.SHARD_SHORT)
        return data


class Shard:
    """An open file that many threads read at once; closed when it is no longer used."""

    def __init__(self, path: Path) -> None:
        self._file = open_regular(path)

    def read(self, start: int, size: int) -> bytes:
        """Bytes at an offset, without moving a position that threads share."""
        return os.pread(self._file.fileno(), size, start)
