"""Zip archives among the sources: their files are unpacked next to the tables of the import.

Only files that the format reads are taken out, under their last name, so that no name in an
archive leads out of the folder. What they unpack to is counted while they do: sizes that an
archive tells of itself need not be true.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from mmx.data.formats.lines import CHUNK, GIB
from mmx.errors import DataError, first_few, first_line
from mmx.files import open_regular

MAGIC = b"PK"
KINDS = (b"\x03\x04", b"\x05\x06")  # of a zip file with members, and without
ENCRYPTED = 1  # of a member's flags


@dataclass
class Archives:
    """The archives of an import, and where each was unpacked to."""

    patterns: Sequence[str]  # of the names that are taken out
    max_bytes: int  # of an archive's files together
    progress: Callable[[int, int], None] = lambda done, total: None
    places: dict[Path, Path] = field(default_factory=dict)  # folder → archive

    def opened(self, place: Path, folder: Path) -> Path:
        """The place as it is, or where it is an archive ``folder`` with its files.

        Raises DataError for one that is damaged, encrypted, too large or holds no such files.
        """
        if not _is_zip(place):
            return place
        if not self.patterns:
            raise DataError(f"{place}: archives of this format are not read; unpack it")
        folder.mkdir(parents=True)
        self.places[folder] = place
        try:
            with open_regular(place) as file, zipfile.ZipFile(file) as archive:
                members = self._members(place, archive)
                total = sum(member.file_size for member in members)
                done = 0
                for member in members:
                    done = self._unpack(archive, member, folder, done, total)
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
            raise DataError(
                f"{place} is damaged ({first_line(error)}); download it again"
            ) from error
        except (NotImplementedError, RuntimeError) as error:
            raise DataError(f"{place}: {first_line(error)}; unpack it yourself") from error
        return folder

    def of(self, path: Path) -> Path:
        """The archive that a file comes from; any other file as it is."""
        return next((zipped for f, zipped in self.places.items() if path.is_relative_to(f)), path)

    def named(self, text: str) -> str:
        """A message in which unpacked files are called as the archive has them."""
        for folder, place in self.places.items():
            text = text.replace(str(folder), str(place))
        return text

    def _members(self, place: Path, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
        """Those that are read. Raises DataError unless there are some, each of another name."""
        found: dict[str, zipfile.ZipInfo] = {}
        for member in archive.infolist():
            name = _name(member)
            inside = not member.filename.startswith("__MACOSX/")
            if inside and any(fnmatchcase(name, pattern) for pattern in self.patterns):
                if name in found:
                    raise DataError(f"{place} holds two files called {name}; unpack it yourself")
                if member.flag_bits & ENCRYPTED:
                    raise DataError(f"{place}: {name} is encrypted; unpack it yourself")
                found[name] = member
        if not found:
            names = first_few([_name(member) for member in archive.infolist()])
            raise DataError(
                f"{place} holds no {' or '.join(self.patterns)}, but {names or 'nothing'}"
            )
        return list(found.values())

    def _unpack(
        self, archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path, done: int, total: int
    ) -> int:
        """Write a member, and count on."""
        with archive.open(member) as packed, (folder / _name(member)).open("wb") as copy:
            while data := packed.read(CHUNK):
                done += len(data)
                if done > self.max_bytes:
                    raise DataError(
                        f"{self.places[folder]} has more than {self.max_bytes / GIB:.4g} GiB when "
                        "it is unpacked; --max-size sets another limit"
                    )
                copy.write(data)
                self.progress(done, max(total, done))
        return done


def _name(member: zipfile.ZipInfo) -> str:
    return "" if member.is_dir() else PurePosixPath(member.filename.replace("\\", "/")).name


def _is_zip(place: Path) -> bool:
    if not place.is_file():
        return False
    try:
        with open_regular(place) as file:
            return file.read(2) == MAGIC and file.read(2) in KINDS
    except OSError as error:
        raise DataError(f"{place} cannot be read: {error.strerror or error}") from error
