"""How a CSV file is written: the two things that the file does not say itself."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass

from mmx.errors import OptionError
from mmx.files import Place
from mmx.kinds import must_be

SUFFIXES = (".csv", ".tsv")


@dataclass(frozen=True)
class CsvFormat:
    """What ``--encoding`` and ``--delimiter`` say. Raises OptionError on unknown ones."""

    encoding: str | None = None  # a name that Python knows; None: UTF-8
    delimiter: str | None = None  # one character, or "tab"; None: a comma, in .tsv a tab

    def __post_init__(self) -> None:
        if self.delimiter in ("tab", "\\t"):  # a tab is hard to type in a shell
            object.__setattr__(self, "delimiter", "\t")
        for name in ("encoding", "delimiter"):
            must_be(name, getattr(self, name), str | None)
        if self.encoding is not None and not _is_text(self.encoding):
            raise OptionError(
                f"--encoding {self.encoding} is unknown; utf-8, utf-16, latin-1, cp1252 … are known"
            )
        if self.delimiter is not None and not _divides(self.delimiter):
            raise OptionError(
                f"--delimiter {self.delimiter!r}: one character such as ; or | is expected, or tab"
            )

    def delimiter_of(self, place: Place) -> str:
        """The character between the cells of a file."""
        return self.delimiter or ("\t" if place.suffix == ".tsv" else ",")

    def options(self) -> list[str]:
        """The options that were given."""
        return [f"--{name}" for name in ("encoding", "delimiter") if getattr(self, name)]


PLAIN = CsvFormat()


def is_csv(place: Place) -> bool:
    """Whether a file is read as CSV."""
    return place.suffix.lower() in SUFFIXES


def refuse_unused(csv: CsvFormat, read: Sequence[Place]) -> None:
    """Raise OptionError when an option was given that none of the files read uses."""
    unused = []
    if csv.encoding and all(place.suffix == ".parquet" for place in read):
        unused.append("--encoding is for CSV and text files")
    if csv.delimiter and not any(map(is_csv, read)):
        unused.append("--delimiter is for CSV files")
    if unused:
        names = ", ".join(sorted({place.name for place in read})) or "no file"
        raise OptionError(f"{', '.join(unused)}, and here {names} is read; leave it out")


def _is_text(encoding: str) -> bool:
    try:
        "".encode(encoding)
    except (LookupError, UnicodeError):  # "hex" is one of bytes, which str.encode refuses
        return False
    return True


def is_utf8(encoding: str | None) -> bool:
    """Whether a file is read as it is, without a copy in UTF-8."""
    return encoding is None or codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")


def _divides(delimiter: str) -> bool:
    return (
        len(delimiter) == 1
        and delimiter.isascii()
        and (
            delimiter == "\t"
            or (delimiter.isprintable() and not delimiter.isalnum() and delimiter not in '" ')
        )
    )
