"""Thumbnails of the dataset's pictures, made once and kept in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict

from mmx.extract.pictures.thumbnails import thumbnail
from mmx.extract.reasons import ImageError
from mmx.extract.sources.inside import Inside

KEPT = 128 << 20  # bytes
STEPS = (64, 128, 256, 512, 1024)  # sides that are made


class Thumbnails:
    """Several threads may use it."""

    def __init__(self, most: int = KEPT) -> None:
        self._most, self._bytes = most, 0
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, pictures: Inside, name: str, side: int) -> bytes | None:
        """A JPEG of at least ``side`` px on its longer side, or as large as the picture is.

        None where there is no picture, or none that can be shown.
        """
        side = next((step for step in STEPS if step >= side), STEPS[-1])
        key = (name, side)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key] or None
        try:
            made = thumbnail(pictures(name), side)
        except ImageError:
            made = b""
        self._keep(key, made)
        return made or None

    def _keep(self, key: tuple[str, int], made: bytes) -> None:
        with self._lock:
            if key not in self._kept:
                self._bytes += len(made) + 200  # of the key
            self._kept[key] = made
            while self._bytes > self._most:
                _, old = self._kept.popitem(last=False)
                self._bytes -= len(old) + 200
