"""Vectors straight from the pages of a store's file, several times faster than through Arrow.

A column of vectors is written as plain, uncompressed numbers with a page checksum. Arrow decodes
it number by number, since in Parquet each has two levels of its own (which list it is in, whether
it is null). Here the levels are read as the runs they are, and the numbers as they are. Any other
layout, which another tool may have written, is ``Unusual``, and Arrow reads it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow.parquet as pq

DATA_PAGE, PLAIN, RLE = 0, 0, 3  # as Parquet numbers them
KINDS: dict[str, np.dtype[Any]] = {
    "FIXED_LEN_BYTE_ARRAY": np.dtype("<f2"),
    "FLOAT": np.dtype("<f4"),
}
TRUE, FALSE, I16, I32, I64, BINARY, STRUCT = 1, 2, 4, 5, 6, 8, 12  # as Thrift numbers them


class Unusual(Exception):  # noqa: N818  not an error: the caller takes another way
    """The column is not laid out as mmx writes it."""


@dataclass
class _Chunk:
    """What is known of one column of one row group while its pages are read."""

    width: int  # bytes of a number
    most: int  # the definition level of a number that is there
    values: list[bytes | memoryview] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)  # of each run
    counts: list[int] = field(default_factory=list)  # of each run

    def add(self, page: memoryview, count: int) -> None:
        """Take the levels and numbers of one page, which has ``count`` levels."""
        page = page[_length(page) :]  # which list a number is in: d in turn, by the checksum
        end = _length(page)
        here = self._runs(page[4:end], count)
        if len(page) - end != here * self.width:
            raise Unusual
        self.values.append(page[end:])

    def _runs(self, data: memoryview, left: int) -> int:
        """Read the definition levels; how many numbers there are."""
        bits, place, numbers = self.most.bit_length(), 0, 0
        while left:
            head, place = _varint(data, place)
            if head & 1:  # groups of eight levels, packed
                size = (head >> 1) * bits
                levels = _unpacked(data[place : place + size], bits)[:left]
                self.levels += levels
                self.counts += [1] * len(levels)
                numbers += levels.count(self.most)
                place, taken = place + size, len(levels)
            else:
                level, taken = data[place], min(head >> 1, left)
                self.levels.append(level)
                self.counts.append(taken)
                numbers += taken if level == self.most else 0
                place += 1
            if not taken:
                raise Unusual
            left -= taken
        return numbers

    def present(self, rows: int, d: int) -> np.ndarray:
        """(rows,) bool: which rows have a vector."""
        if not self.levels:
            raise Unusual
        levels, counts = np.array(self.levels), np.array(self.counts, dtype=np.int64)
        null, there = levels == 0, levels == self.most
        before = np.cumsum(np.where(there, counts, 0))
        if not (null | there).all() or (before[null] % d).any() or before[-1] % d:
            raise Unusual  # an empty list, or a null number
        gaps = counts[null]
        present = np.ones(rows, dtype=bool)
        if before[-1] // d + gaps.sum() != rows:
            raise Unusual
        first = before[null] // d + np.cumsum(gaps) - gaps
        inside = np.arange(gaps.sum()) - np.repeat(np.cumsum(gaps) - gaps, gaps)
        present[np.repeat(first, gaps) + inside] = False
        return present


def read_vectors(
    source: Any, footer: pq.FileMetaData, group: int, modality: str, d: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Which rows of a row group have a vector (rows,) bool, and all their numbers in parts.

    Raises Unusual for another layout, ValueError where a checksum is wrong.
    """
    place = _place_of(footer, modality)
    chunk = footer.row_group(group).column(place)
    kind = KINDS.get(chunk.physical_type)
    if kind is None or chunk.compression != "UNCOMPRESSED" or chunk.has_dictionary_page:
        raise Unusual
    column = footer.schema.column(place)
    halves = kind.itemsize == 2
    if column.max_repetition_level != 1 or halves != ("Float16" in str(column.logical_type)):
        raise Unusual
    found = _Chunk(kind.itemsize, column.max_definition_level)
    source.seek(chunk.data_page_offset)
    data = memoryview(source.read(chunk.total_compressed_size))
    for page, count in _pages(data, chunk.num_values):
        found.add(page, count)
    rows = footer.row_group(group).num_rows
    return found.present(rows, d), [np.frombuffer(part, dtype=kind) for part in found.values]


def _place_of(footer: pq.FileMetaData, modality: str) -> int:
    names = (f"{modality}.list.element", f"{modality}.list.item")
    paths = [footer.schema.column(n).path for n in range(footer.num_columns)]
    found = [n for n, path in enumerate(paths) if path in names]
    if len(found) != 1:
        raise Unusual
    return found[0]


def _pages(data: memoryview, levels: int) -> Iterator[tuple[memoryview, int]]:
    """The pages of a column chunk, compared with their checksums, and the levels in each."""
    place = 0
    while levels > 0:
        try:
            header, place = _struct(data, place)
        except (IndexError, RecursionError) as error:
            raise ValueError("the header of a page is not one") from error
        about, size, crc = header.get(5), header.get(3), header.get(4)
        plain = isinstance(about, dict) and [about.get(n) for n in (2, 3, 4)] == [PLAIN, RLE, RLE]
        if header.get(1) != DATA_PAGE or not plain or crc is None or size != header.get(2):
            raise Unusual
        count = about.get(1) if isinstance(about, dict) else None
        if not (isinstance(count, int) and isinstance(size, int) and 0 < count <= levels):
            raise Unusual
        page = data[place : place + size]
        if len(page) != size or zlib.crc32(page) != crc & 0xFFFFFFFF:
            raise ValueError("the checksum of a page is not that of its bytes")
        yield page, count
        place, levels = place + size, levels - count


def _length(page: memoryview) -> int:
    """Bytes of the levels at the start of a page, their length included."""
    found = int.from_bytes(page[:4], "little") + 4
    if found > len(page):
        raise Unusual
    return found


def _unpacked(data: memoryview, bits: int) -> list[int]:
    """Numbers of so many bits each, the lowest bit first."""
    whole, mask = int.from_bytes(data, "little"), (1 << bits) - 1
    return [whole >> place & mask for place in range(0, 8 * len(data), bits)]


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    found = shift = 0
    while True:
        byte = data[place]
        found |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if not byte & 0x80:
            return found, place
        if shift > 63:
            raise Unusual


def _struct(data: memoryview, place: int) -> tuple[dict[int, Any], int]:
    """A structure in Thrift's compact protocol: field number → value; texts are skipped."""
    fields: dict[int, Any] = {}
    number = 0
    while kind := data[place] & 0x0F:
        step = data[place] >> 4
        place += 1
        if step:
            number += step
        else:
            raw, place = _varint(data, place)
            number = (raw >> 1) ^ -(raw & 1)
        fields[number], place = _value(data, place, kind)
    return fields, place + 1


def _value(data: memoryview, place: int, kind: int) -> tuple[Any, int]:
    if kind in (TRUE, FALSE):
        return kind == TRUE, place
    if kind in (I16, I32, I64):
        raw, place = _varint(data, place)
        return (raw >> 1) ^ -(raw & 1), place
    if kind == BINARY:
        length, place = _varint(data, place)
        return None, place + length
    if kind == STRUCT:
        return _struct(data, place)
    raise Unusual
