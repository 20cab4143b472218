"""What the user says of an import, checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mmx.bounds import check_options, number, whole
from mmx.data.csvs.format import PLAIN, CsvFormat
from mmx.data.formats.archives import Archives
from mmx.data.formats.filters import DUPLICATES
from mmx.data.formats.lines import GIB, LineReader
from mmx.data.formats.workspace import Workspace
from mmx.data.templates import TextTemplate
from mmx.errors import DataError, OptionError, first_few, one_of


@dataclass(frozen=True)
class ImportOptions:
    """Raises OptionError for what is out of bounds."""

    k_core: int = 0  # least interactions of every user and every item; 0 keeps all
    min_rating: float | None = None  # keep interactions rated at least this
    duplicates: str = "earliest"  # of a repeated pair keep the earliest, the latest or all
    all_items: bool = False  # keep items without an interaction, too
    text: str | None = None  # template of the column text; None: the format's own
    columns: Mapping[str, str] = field(default_factory=dict)  # ours → theirs
    csv: CsvFormat = PLAIN
    skip_bad_lines: bool = False
    license: str | None = None  # of the source, in words; goes into import.json
    max_size: float = 64  # GiB of one gzip or zip file once it is unpacked

    def __post_init__(self) -> None:
        one_of("--duplicates", self.duplicates, DUPLICATES)
        check_options(
            self, k_core=whole(0), min_rating=number(-math.inf),
            max_size=number(0, 1 << 20, above=True),
        )  # fmt: skip
        if self.text is not None:
            TextTemplate.parse(self.text)

    @property
    def max_bytes(self) -> int:
        """Bytes of one gzip or zip file once it is unpacked."""
        return int(self.max_size * GIB)


@dataclass
class ImportSource:
    """What a format reads: the places that the user named, and how."""

    places: list[Path]
    options: ImportOptions
    reader: LineReader
    work: Workspace
    log: Callable[[str], None]
    archives: Archives
    read: list[Path] = field(default_factory=list)  # the files that were read

    def files(self, *patterns: str) -> list[Path]:
        """The files named, and those in the folders named that match, sorted."""
        found: dict[Path, None] = {}
        for place in self.places:
            inside = [p for pattern in patterns for p in sorted(place.glob(pattern)) if p.is_file()]
            if place.is_dir() and not inside:
                raise DataError(f"{place} holds no {' or '.join(patterns)}; name the files")
            found |= dict.fromkeys(inside if place.is_dir() else [place])
        return list(found)

    def folder(self, expected: str) -> Path:
        """The one folder named. Raises DataError for anything else."""
        if len(self.places) != 1 or not self.places[0].is_dir():
            raise DataError(f"{first_few(self.places)}: one folder is expected, with {expected}")
        return self.places[0]

    def using(self, path: Path) -> Path:
        """Note that a file is read, or the archive that it is from."""
        found = self.archives.of(path)
        if found not in self.read:
            self.read.append(found)
        return path

    def renamed(self, known: Mapping[str, str]) -> dict[str, str]:
        """Our names and theirs: ``known`` with what ``--columns`` says."""
        return {**known, **self.options.columns}


def parse_columns(given: list[str]) -> dict[str, str]:
    """``item_id=sku,text=title`` as a dict. Raises OptionError."""
    found: dict[str, str] = {}
    for pair in (pair for text in given for pair in text.split(",")):
        ours, equals, theirs = pair.strip().partition("=")
        if not (equals and ours and theirs):
            raise OptionError(f"--columns {pair!r}: OURS=THEIRS is expected, such as item_id=sku")
        if found.get(ours, theirs) != theirs:
            raise OptionError(f"--columns names {ours} twice; once is enough")
        found[ours] = theirs
    return found
