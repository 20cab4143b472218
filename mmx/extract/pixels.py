"""Decoded pictures at encoder size, kept in a memory-mapped file between epochs and runs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmx.atomic import replacing
from mmx.data.dataset import Items
from mmx.extract.pictures.images import ImageRule
from mmx.extract.reasons import PASSING
from mmx.extract.sources import source_for, versions
from mmx.extract.sources.web import Web
from mmx.extract.stages.load import Loader

BLOCK = 256  # pictures read ahead, and between two calls of ``progress``


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
    web: Web | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Pixels:
    """Decode every picture once; later calls with the same pictures and rule only map the file.

    A changed picture (by size and time of change), item or rule makes a new file, and so do
    private addresses that were refused and are allowed (``web``) now. Nothing is kept where a
    host was given up: the next call tries it again.
    """
    web = web or Web()
    path = folder / f"pixels-{_key(items, rule, web)}.npy"
    known = path.with_suffix(".present.npy")
    if path.exists() and known.exists():
        return Pixels(np.load(path, mmap_mode="r"), np.load(known))
    present, whole = _decode(items, rule, path, web, progress)
    if whole:
        with replacing(known) as other, other.open("wb") as file:
            np.save(file, present)
    return Pixels(np.load(path, mmap_mode="r"), present)


def _decode(
    items: Items,
    rule: ImageRule,
    path: Path,
    web: Web,
    progress: Callable[[int, int], None],
) -> tuple[np.ndarray, bool]:
    """Write the pixels; which are present, and whether no host was given up."""
    loader = Loader(source_for(items, web), rule, takes_text=False)
    present, whole = np.zeros(len(items), dtype=bool), True
    names = ((name, None) for name in items.table["image"].to_pylist())
    with replacing(path) as temporary:
        shape = (len(items), rule.size, rule.size, 3)
        images = np.lib.format.open_memmap(temporary, "w+", np.uint8, shape)
        _allocate(temporary)
        for row, loaded in enumerate(loader.load_ahead(names, BLOCK)):
            if loaded.pixels is not None:
                images[row], present[row] = loaded.pixels, True
            whole &= loaded.image_status not in PASSING
            if (row + 1) % BLOCK == 0 or row + 1 == len(items):
                progress(row + 1, len(items))
        images.flush()
    return present, whole


def _allocate(path: Path) -> None:
    """Reserve the disk space: writing to mapped memory on a full disk kills the process."""
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
