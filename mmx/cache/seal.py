"""The footer of a store's file, sealed, so that a flipped bit in it is noticed before it is used.

A Parquet file ends with its footer (schema, row count, where the pages are, statistics, metadata
with the encoder card), the footer's length in four bytes and "PAR1". Pages can carry checksums,
the footer cannot. So one entry of a store's metadata, mmx.footer_sha256, is the SHA-256 of the
whole footer, in which that entry's own value counts as zeros.

The entry is not part of the Arrow schema that pyarrow keeps in the file, so pyarrow does not take
it over into a file it rewrites; such a file is read like one that never had a seal.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mmx.cache.decoding import ENDLESS, NO_PARQUET, decoding
from mmx.files import Place, open_regular, reaching

SEAL = "mmx.footer_sha256"
BLANK = "0" * 64
MAGIC = b"PAR1"
_MARK = SEAL.encode() + bytes([0x18, len(BLANK)])  # as Thrift writes the key and a value's length
_TAIL = 1 << 16  # bytes read at once, which mostly hold the whole footer


def seal(path: Path) -> None:
    """Fill in the seal of a file that was written with ``SEAL: BLANK`` in its metadata."""
    with path.open("r+b") as file:
        footer = _footer(file)
        place = footer.find(_MARK) + len(_MARK)
        file.seek(place - len(footer) - 8, 2)
        file.write(_value(footer, place))


def read_footer(place: Place) -> tuple[pq.FileMetaData, bool]:
    """The footer of a Parquet file, and whether a seal confirms it.

    Raises DamagedError when the footer is not the one that was sealed, or cannot be parsed, and
    StoreError when the file cannot be read or is not Parquet. A sealed footer is compared
    with its seal before anything parses it.
    """
    # the inner one, so that damage is not reported as a remote file out of reach
    with decoding(place), reaching(place), _opened(place) as file, decoding(place):
        footer = _footer(file)
        sealed = _is_sealed(footer)
        tail = len(footer).to_bytes(4, "little") + MAGIC
        return pq.read_metadata(pa.BufferReader(MAGIC + footer + tail)), sealed


def _opened(place: Place) -> Any:
    return open_regular(place) if isinstance(place, Path) else place.open()


def _footer(file: Any) -> bytes:
    """The footer's bytes. Raises ValueError where there cannot be one."""
    size = file.seek(0, 2)
    tail = _last(file, min(size, _TAIL))
    if tail[-4:] != MAGIC:
        file.seek(0)
        raise ValueError(ENDLESS if file.read(4) == MAGIC else NO_PARQUET)
    length = int.from_bytes(tail[-8:-4], "little")
    if length + 12 > size:
        raise ValueError(f"its footer of {length} bytes is longer than the file")
    if length + 8 > len(tail):
        tail = _last(file, length + 8)
    footer = tail[-8 - length : -8]
    if _MARK in tail and _MARK not in footer:
        raise ValueError("its footer has another length")
    return footer


def _last(file: Any, count: int) -> bytes:
    file.seek(-count, 2)
    found: bytes = file.read(count)
    if len(found) < count:
        raise ValueError("it is shorter than it was a moment ago")
    return found


def _is_sealed(footer: bytes) -> bool:
    """Whether there is a seal. Raises ValueError when it is wrong."""
    place = footer.find(_MARK) + len(_MARK)
    if place >= len(_MARK):
        if footer[place : place + len(BLANK)] != _value(footer, place):
            raise ValueError("its footer is not what was written")
        return True
    if SEAL.encode() in footer:
        raise ValueError("the seal of its footer is broken")
    return False


def _value(footer: bytes, place: int) -> bytes:
    """The seal of a footer that has it at ``place``."""
    blank = footer[:place] + BLANK.encode() + footer[place + len(BLANK) :]
    return hashlib.sha256(blank).hexdigest().encode()
