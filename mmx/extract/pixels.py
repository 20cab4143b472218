"""Decoded pictures at encoder size, kept in a memory-mapped file between epochs and runs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmx.atomic import replacing
from mmx.data.dataset import Items
from mmx.extract.images import ImageRule
from mmx.extract.inputs import Loader
from mmx.extract.sources import source_for, versions
from mmx.extract.sources.web import Web

BLOCK = 512  # pictures decoded before they are written


@dataclass(frozen=True)
class Pixels:
    """The catalogue's pictures, prepared by one image rule."""

    images: np.ndarray  # (items, s, s, 3) uint8, memory-mapped; zero where there is none
    present: np.ndarray  # (items,) bool


def cached_pixels(
    items: Items,
    rule: ImageRule,
    folder: Path,
    *,
    workers: int = 2,
    web: Web | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Pixels:
    """Decode every picture once; later calls with the same pictures and rule only map the file.

    A changed picture (by size and time of change), item or rule makes a new file, and so do
    private addresses that were refused and are allowed (``web``) now.
    """
    web = web or Web()
    path = folder / f"pixels-{_key(items, rule, web)}.npy"
    known = path.with_suffix(".present.npy")
    if not (path.exists() and known.exists()):
        _decode(items, rule, path, known, workers, web, progress)
    return Pixels(np.load(path, mmap_mode="r"), np.load(known))


def _decode(
    items: Items,
    rule: ImageRule,
    path: Path,
    known: Path,
    workers: int,
    web: Web,
    progress: Callable[[int, int], None],
) -> None:
    loader = Loader(source_for(items, web), rule, takes_text=False)
    present = np.zeros(len(items), dtype=bool)
    names = items.table["image"].to_pylist()
    with replacing(path) as temporary, ThreadPoolExecutor(workers) as pool:
        shape = (len(items), rule.size, rule.size, 3)
        images = np.lib.format.open_memmap(temporary, "w+", np.uint8, shape)
        _allocate(temporary)
        for start in range(0, len(items), BLOCK):
            block = names[start : start + BLOCK]
            for row, loaded in enumerate(pool.map(loader.load, block, [None] * len(block)), start):
                if loaded.pixels is not None:
                    images[row], present[row] = loaded.pixels, True
            progress(min(start + BLOCK, len(items)), len(items))
        images.flush()
        with replacing(known) as other, other.open("wb") as file:
            np.save(file, present)


def _allocate(path: Path) -> None:
    """Have the disk's room before it is written by memory: a full one would kill the process."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _key(items: Items, rule: ImageRule, web: Web) -> str:
    digest = hashlib.blake2b(items.fingerprint().encode(), digest_size=12)
    digest.update(json.dumps(rule.as_dict(), sort_keys=True).encode())
    for version in versions(items):
        digest.update(version.encode())
    if web.allow_private:
        digest.update(b"private")
    return digest.hexdigest()
