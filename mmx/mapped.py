"""Matrices that are too large for memory: in unnamed files, read and forgotten page by page.

The file is gone as soon as nothing refers to the matrix any more, also after a kill. A page that
was looked at counts as this process's memory until it is released, and one look may bring in MiBs
around it. So whoever walks over a matrix does it in blocks, and scattered rows are gathered by
reading the file.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from mmx.errors import StoreError, first_line

BLOCK_BYTES = 64 << 20  # of a matrix at once


@dataclass(frozen=True)
class Space:
    """Where matrices go: memory, or a file in ``folder`` for one of more than ``limit`` bytes."""

    folder: Path | None = None  # None: memory alone
    limit: int = 0

    def maps(self, rows: int, columns: int) -> bool:
        """Whether a (rows, columns) float32 matrix goes into a file."""
        return self.folder is not None and 4 * rows * columns > self.limit

    def zeros(self, rows: int, columns: int) -> np.ndarray:
        """(rows, columns) float32. Raises StoreError when the disk has no room for it."""
        if self.folder is None or not self.maps(rows, columns):
            return np.zeros((rows, columns), np.float32)
        try:
            return _mapped(self.folder, rows, columns)
        except OSError as error:
            raise StoreError(
                f"no room for {4 * rows * columns / 2**30:.1f} GiB of vectors in {self.folder} "
                f"({first_line(error)}); free some, or set --out on another disk"
            ) from error


MEMORY = Space()


class Mapped(np.memmap):
    """A matrix in a file; views of it have no file to gather from."""

    file: IO[bytes] | None = None


def _mapped(folder: Path, rows: int, columns: int) -> Mapped:
    folder.mkdir(parents=True, exist_ok=True)
    file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
    if hasattr(os, "posix_fallocate"):  # a disk that fills up later ends the process
        os.posix_fallocate(file.fileno(), 0, 4 * rows * columns)
    else:
        file.truncate(4 * rows * columns)
    matrix = Mapped(file, np.float32, "r+", shape=(rows, columns))
    matrix.file = file
    return matrix


def gather(matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """A copy (n, d) of (n,) rows; of a mapped matrix no page becomes this process's memory."""
    if not isinstance(matrix, Mapped) or matrix.file is None:
        return np.asarray(matrix[rows])
    found = np.empty((len(rows), matrix.shape[1]), np.float32)
    starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)  # of runs of neighbours
    for start, stop in zip(starts, np.append(starts, len(rows))[1:], strict=True):
        part, at = found[start:stop], int(rows[start]) * found.strides[0]
        if os.preadv(matrix.file.fileno(), [part.data], at) != part.nbytes:
            raise StoreError("rows of the mapped vectors could not be read; is the disk damaged?")
    return found


def release(matrix: np.ndarray) -> None:
    """Give back the memory of a mapped matrix's pages, which keep what was written to them."""
    pages = getattr(matrix, "_mmap", None)
    if pages is not None and hasattr(mmap, "MADV_DONTNEED"):
        pages.madvise(mmap.MADV_DONTNEED)


def is_mapped(matrix: np.ndarray) -> bool:
    """Whether the matrix is in a file."""
    return getattr(matrix, "_mmap", None) is not None


def in_blocks(matrix: np.ndarray) -> Iterator[slice]:
    """All rows, some MiB at a time; the pages of a mapped matrix are released after each block."""
    step = max(1, BLOCK_BYTES // max(1, matrix.itemsize * matrix.shape[1]))
    for start in range(0, len(matrix), step):
        yield slice(start, start + step)
        release(matrix)


def are_finite(values: np.ndarray) -> bool:
    """Whether no number is NaN or infinite, found without as many answers at once."""
    if values.ndim != 2:
        return bool(np.isfinite(values).all())
    return all(np.isfinite(values[rows]).all() for rows in in_blocks(values))
