"""All vectors of one modality of a store as a matrix that can be searched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmx.cache.decoding import decoding, opened, read_columns, read_group
from mmx.cache.pages import Unusual, read_vectors
from mmx.cache.seal import read_footer
from mmx.cache.store import Store
from mmx.errors import one_of
from mmx.files import Place

AT_ONCE = 64  # halves that FAISS turns into float32 as one row
SMALL, LARGE = 1e-30, 1e30  # sums of squares that float32 holds with all its digits


@dataclass(frozen=True)
class Vectors:
    """The items that have a vector which is neither zero nor NaN or infinite anywhere.

    Numbers are those of the store; a row whose squares float32 cannot hold is multiplied by a
    power of two, which no cosine depends on.
    """

    ids: pa.Array  # (n,) text, in the store's order
    matrix: np.ndarray  # (n, d) float32
    scale: np.ndarray  # (n,) float32, 1 / norm

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dimension(self) -> int:
        """Numbers of a vector."""
        return int(self.matrix.shape[1])

    def take(self, rows: np.ndarray) -> Vectors:
        """Some of them, copied."""
        return Vectors(self.ids.take(pa.array(rows)), self.matrix[rows], self.scale[rows])


def vectors_of(ids: pa.Array, matrix: np.ndarray) -> Vectors:
    """Of (n,) ids and (n, d) numbers in memory, which are copied; see ``load_vectors``."""
    rows, scale = np.array(matrix, dtype=np.float32), np.empty(len(ids), np.float32)
    usable = _scaled(rows, scale)
    return Vectors(ids.filter(pa.array(usable)), rows[usable], scale[usable])


def load_vectors(
    store: Store,
    modality: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Vectors:
    """Read them, comparing checksums. ``progress`` gets rows done and rows in all.

    Raises StoreError when the store has no such modality or memory is short, DamagedError.
    """
    one_of("--modality", modality, store.card.dimensions)
    d = store.card.dimensions[modality]
    with decoding(store.path):  # of a MemoryError
        matrix, scale = np.empty((store.rows, d), np.float32), np.empty(store.rows, np.float32)
    kept = np.zeros(store.rows, dtype=bool)
    ids: list[pa.ChunkedArray] = []
    done = filled = 0
    for file in store.files:
        footer = read_footer(file)[0]
        with opened(file, footer) as source:
            ids.append(read_columns(source, ["item_id"])["item_id"].cast(pa.string()))
        for present, parts in _groups(file, footer, modality, d, store.sealed):
            block = _filled(matrix[filled:], parts, int(present.sum()), file)
            usable = _scaled(block, scale[filled : filled + len(block)])
            kept[done : done + len(present)][present] = usable
            if not usable.all():
                count = int(usable.sum())
                block[:count], scale[filled : filled + count] = (
                    block[usable], scale[filled : filled + len(block)][usable],
                )  # fmt: skip
            filled, done = filled + int(usable.sum()), done + len(present)
            progress(done, store.rows)
    there = pa.chunked_array(ids, pa.string()).combine_chunks().filter(pa.array(kept))
    return Vectors(there, matrix[:filled], scale[:filled])


def _groups(
    file: Place, footer: pq.FileMetaData, modality: str, d: int, sealed: bool
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Of each row group which rows have a vector, and the numbers."""
    group = 0
    if sealed:  # else nothing says that the levels of the pages are sound
        with decoding(file), file.open("rb") as source:
            try:
                while group < footer.num_row_groups:
                    yield read_vectors(source, footer, group, modality, d)
                    group += 1
            except Unusual:
                pass
    if group < footer.num_row_groups:
        with opened(file, footer) as parquet:
            for rest in range(group, footer.num_row_groups):
                yield _by_arrow(read_group(parquet, rest, [modality])[modality])


def _by_arrow(column: pa.ChunkedArray) -> tuple[np.ndarray, list[np.ndarray]]:
    present = [np.zeros(0, dtype=bool)]
    present += [chunk.is_valid().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    parts = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return np.concatenate(present), parts


def _filled(matrix: np.ndarray, parts: list[np.ndarray], rows: int, file: Place) -> np.ndarray:
    """The first rows of the matrix, which get these numbers."""
    block = matrix[:rows]
    flat, start = block.reshape(-1), 0
    if sum(map(len, parts)) != len(flat):
        with decoding(file):
            raise ValueError("a vector has another number of numbers")
    with np.errstate(over="ignore"):  # of float64, which becomes infinite
        for part in parts:
            widen(part, flat[start : start + len(part)])
            start += len(part)
    return block


def widen(numbers: np.ndarray, into: np.ndarray) -> None:
    """Copy (n,) numbers to (n,) float32; halves by the processor's own instruction."""
    whole = len(numbers) // AT_ONCE * AT_ONCE if numbers.dtype == np.float16 else 0
    if whole:
        import faiss

        halves = faiss.ScalarQuantizer(AT_ONCE, faiss.ScalarQuantizer.QT_fp16)
        codes = np.ascontiguousarray(numbers[:whole]).view(np.uint8)
        halves.decode_c(faiss.swig_ptr(codes), faiss.swig_ptr(into), whole // AT_ONCE)  # type: ignore[attr-defined]
    into[whole:] = numbers[whole:]


def _scaled(block: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Fill in 1 / norm; (n,) bool: which rows can be searched."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        squares = np.einsum("ij,ij->i", block, block)
        odd = np.flatnonzero(~((squares > SMALL) & (squares < LARGE)))
        scale[:] = 1 / np.sqrt(squares)
    usable = np.ones(len(block), dtype=bool)
    if len(odd):
        rows = block[odd]
        usable[odd] = np.isfinite(rows).all(1) & rows.any(1)
        good = odd[usable[odd]]
        block[good] = evened(block[good])
        scale[good] = 1 / np.sqrt(np.einsum("ij,ij->i", block[good], block[good]))
    return usable


def evened(rows: np.ndarray) -> np.ndarray:
    """Rows that are not zero, multiplied by powers of two: the largest number is in [0.5, 1)."""
    exponents = np.frexp(np.abs(rows).max(axis=1))[1]
    return np.asarray(np.ldexp(rows, -exponents[:, None]))
