"""The lines of a text file, plain or in gzip, in blocks: little memory, and every line numbered.

A gzip file is unpacked as it is read. One that is cut off or damaged, a line that is not in the
encoding and a file that unpacks to more than the limit each end with one line that says where.
"""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mmx.data.formats.bad_lines import BadLines
from mmx.errors import DataError, OptionError, first_line
from mmx.files import open_regular

CHUNK = 256 << 10  # bytes read at once
BLOCK = 2 << 20  # bytes of the lines of a block
LONGEST = 16 << 20  # bytes of a line
MAGIC = b"\x1f\x8b"
GIB = 1 << 30


@dataclass(frozen=True)
class LineBlock:
    """Some lines with their numbers; blank ones are left out."""

    numbers: list[int]
    lines: list[str]


@dataclass
class LineReader:
    """How files are read, and how far this has come."""

    bad: BadLines
    encoding: str = "utf-8"
    max_bytes: int = 64 * GIB  # of one file once it is unpacked
    progress: Callable[[int], None] = lambda read: None  # bytes of all files so far
    done: int = 0  # bytes of the files before this one

    def __post_init__(self) -> None:
        if "\n".encode(self.encoding) != b"\n":
            raise OptionError(
                f"--encoding {self.encoding}: lines cannot be told apart in it; convert the file "
                "to UTF-8"
            )

    def blocks(self, path: Path) -> Iterator[LineBlock]:
        """The lines of a file. Raises DataError where it cannot be read."""
        number, rest = 1, b""
        for data in self._pieces(path):
            if data is None:  # cut off: the last line is not whole
                end = rest.rfind(b"\n") + 1
                yield self._block(path, number, rest[:end])
                number += rest.count(b"\n", 0, end)
                self.bad.found(path, number, "the gzip file is cut off here; download it again")
                return
            rest += data
            if len(rest) > BLOCK and (end := rest.rfind(b"\n") + 1):
                yield self._block(path, number, rest[:end])
                number, rest = number + rest.count(b"\n", 0, end), rest[end:]
            if len(rest) > LONGEST:
                raise DataError(
                    f"{path}: line {number} has more than {LONGEST >> 20} MiB; is it a file of "
                    "lines?"
                )
        if rest:
            yield self._block(path, number, rest)

    def head(self, path: Path, most: int) -> list[str]:
        """At most so many lines from the start of a file, those left out that cannot be read."""
        found: list[str] = []
        for block in self._quiet().blocks(path):
            found += block.lines
            if len(found) >= most:
                break
        return found[:most]

    def first(self, path: Path) -> tuple[int, str]:
        """The first line that is not blank and its number; 0 and nothing where there is none."""
        for block in self._quiet().blocks(path):
            if block.lines:
                return block.numbers[0], block.lines[0]
        for _ in self.blocks(path):  # raises where the first line is cut off
            pass
        return 0, ""

    def unpacked(self, path: Path, target: Path) -> Path:
        """The file itself, or where it is in gzip a copy at ``target`` that is not.

        Raises DataError where the gzip file is cut off or damaged.
        """
        if not is_gzip(path):
            return path
        with target.open("wb") as copy:
            for data in self._pieces(path):
                if data is None:
                    raise DataError(f"{path}: the gzip file is cut off; download it again")
                copy.write(data)
        return target

    def _quiet(self) -> LineReader:
        """The same, to look at a file without counting what is read or wrong."""
        return LineReader(BadLines(skip=True), self.encoding, self.max_bytes)

    def _pieces(self, path: Path) -> Iterator[bytes | None]:
        """The bytes of a file, unpacked; at last None where a gzip file is cut off."""
        size = 0
        try:
            with open_regular(path) as raw:
                packed = raw.read(2) == MAGIC
                raw.seek(0)
                for data in _unpacked(raw) if packed else _plain(raw):
                    size += len(data)
                    if packed and size > self.max_bytes:
                        raise DataError(
                            f"{path} has more than {self.max_bytes / GIB:.4g} GiB when it is "
                            "unpacked; --max-size sets another limit"
                        )
                    yield data
                    self.progress(self.done + raw.tell())
                self.done += raw.tell()
        except EOFError:
            yield None
        except zlib.error as error:
            reason = first_line(error)
            raise DataError(f"{path} is damaged ({reason}); download it again") from error
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from error

    def _block(self, path: Path, number: int, data: bytes) -> LineBlock:
        try:
            lines = data.decode(self.encoding).split("\n")
        except UnicodeDecodeError:
            lines = [self._line(path, n, b) for n, b in enumerate(data.split(b"\n"), number)]
        if number == 1:
            lines[0] = lines[0].removeprefix("\ufeff")
        kept = [(n, line) for n, line in enumerate(lines, number) if line and not line.isspace()]
        return LineBlock([n for n, _ in kept], [line.removesuffix("\r") for _, line in kept])

    def _line(self, path: Path, number: int, data: bytes) -> str:
        """One line; empty where it is not in the encoding."""
        try:
            return data.decode(self.encoding)
        except UnicodeDecodeError as error:
            name = "UTF-8" if codecs.lookup(self.encoding).name == "utf-8" else self.encoding
            self.bad.found(
                path, number,
                f"{data[error.start : error.end]!r} is not {name} (--encoding names another)",
            )  # fmt: skip
            return ""


def is_gzip(path: Path) -> bool:
    """Whether it starts as gzip files do, whatever its name. Raises DataError."""
    try:
        with open_regular(path) as file:
            return file.read(2) == MAGIC
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _plain(raw: BinaryIO) -> Iterator[bytes]:
    while data := raw.read(CHUNK):
        yield data


def _unpacked(raw: BinaryIO) -> Iterator[bytes]:
    """What a gzip file of one or several members holds, at most CHUNK bytes at a time.

    Raises EOFError where it ends too early, zlib.error where a checksum is wrong.
    """
    machine = zlib.decompressobj(31)
    while data := raw.read(CHUNK):
        while data:
            if machine.eof:
                data = data.lstrip(b"\0")  # some writers fill up the last block
                machine = zlib.decompressobj(31) if data else machine
                continue
            yield machine.decompress(data, CHUNK)
            data = machine.unused_data if machine.eof else machine.unconsumed_tail
    while not machine.eof:
        data = machine.decompress(b"", CHUNK)
        if not data and not machine.eof:
            raise EOFError
        yield data
