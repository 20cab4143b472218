"""Reading files of a store: checksums are compared, and damage is reported as damage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mmx.errors import DamagedError, StoreError, first_line
from mmx.files import Place, readable

NO_PARQUET = "not a Parquet file"
ENDLESS = "its end is missing"  # and with it what would show that it is a store
BROKEN = (  # whatever decoders raise on damaged bytes
    pa.ArrowException, OSError, ValueError, KeyError, IndexError, OverflowError, MemoryError,
)  # fmt: skip


@contextmanager
def decoding(place: Place) -> Iterator[None]:
    """Turn what breaks while ``place`` is decoded into one line that says what to do.

    Raises DamagedError, or StoreError when the system refuses to read or it is not Parquet.
    """
    try:
        yield
    except BROKEN as error:
        raise _named(place, error) from error


def _named(place: Place, error: Exception) -> StoreError:
    reason = first_line(error).rstrip(".")
    if reason == NO_PARQUET:
        return StoreError(f"{place} is not a Parquet file; make a store with `mmx extract`")
    if isinstance(error, MemoryError):
        return StoreError(f"{place} does not fit into memory, or is damaged ({reason})")
    if isinstance(error, OSError) and (error.errno or type(error) is not OSError):
        return StoreError(f"{place} cannot be read: {error.strerror or reason}; try again")
    ending = "delete it and extract again" if reason == ENDLESS else fix_for(place)
    return DamagedError(f"{place} is damaged ({reason}); {ending}")


def fix_for(place: Place) -> str:
    """What to do about a damaged file."""
    if isinstance(place, Path) and place.parent.suffix == ".parts":
        return "delete it and run the same `mmx extract` again"
    return "extract again with --overwrite"


@contextmanager
def opened(place: Place, footer: pq.FileMetaData) -> Iterator[pq.ParquetFile]:
    """The file, whose pages are compared with their checksums when they are read.

    Raises DamagedError in the block when they do not match, or cannot be decoded.
    """
    with (
        readable(place) as source,
        decoding(place),
        pq.ParquetFile(source, metadata=footer, page_checksum_verification=True) as file,
    ):
        yield file


def read_group(file: pq.ParquetFile, group: int, columns: Sequence[str] | None = None) -> pa.Table:
    """A row group, with as many rows as the footer says. Call it inside ``opened``."""
    found = file.read_row_group(group, columns=None if columns is None else list(columns))
    return _whole(found, file.metadata.row_group(group).num_rows, columns)


def read_columns(file: pq.ParquetFile, columns: Sequence[str]) -> pa.Table:
    """Some columns of all rows, likewise."""
    return _whole(file.read(columns=list(columns)), file.metadata.num_rows, columns)


def _whole(table: pa.Table, rows: int, columns: Sequence[str] | None) -> pa.Table:
    """The table, if it is sound in itself: files without checksums can hold anything."""
    if table.num_rows != rows:
        raise ValueError(f"{table.num_rows} of {rows} rows can be read")
    table.validate(full=True)
    return table if columns is None else table.select(list(columns))
