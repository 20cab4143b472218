"""How to recognise an embedding store, without trusting its contents.

A damaged store counts as a store, so that `mmx extract --overwrite` can replace it.
"""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mmx.atomic import Kind
from mmx.files import Place, readable, size_of

FOOTER = 1 << 20  # bytes at the end of a file that hold its metadata, with room to spare
MARKS = (b"mmx.card", b"mmx.dtype", b"mmx.format", b"mmx.items", b"mmx.versions")


def is_store_like(path: Place) -> bool:
    """Whether ``path`` is a store and nothing else: a file, or a folder of a store's files."""
    if path.is_dir():
        files: list[Place] = [*(path.iterdir() if isinstance(path, Path) else path.glob("*"))]
        return bool(files) and all(_is_part(file) for file in files)
    return path.is_file() and _is_marked(path)


STORE = Kind("an embedding store", is_store_like)


def _is_part(path: Place) -> bool:
    """Whether a file is one of a store's, and not a store itself in a folder of stores."""
    if not re.fullmatch(r"part-\d{5}\.parquet", path.name) or not path.is_file():
        return False
    return _is_marked(path) or not _is_readable(path)


def _is_readable(path: Place) -> bool:
    try:
        with readable(path) as file:
            pq.read_metadata(file)
        return True
    except (pa.ArrowException, OSError):
        return False


def _is_marked(path: Place) -> bool:
    """Whether it is a Parquet file with our entries, one of which may be damaged."""
    with path.open("rb") as file:
        begin = file.read(4)
        file.seek(max(0, size_of(path) - FOOTER))
        end = file.read()
    return b"PAR1" in (begin, end[-4:]) and sum(mark in end for mark in MARKS) > 1
