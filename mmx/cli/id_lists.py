"""Ids that options name, on the command line or in files; an error names the file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmx.data.csvs.format import CsvFormat
    from mmx.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class IdLists:
    """All ids of an option."""

    parts: dict[Path | str, list[str]]  # by the file, or the text, in which they are written

    @property
    def ids(self) -> list[str]:
        """Each once."""
        return list(dict.fromkeys(one for part in self.parts.values() for one in part))

    def check(self, vocabulary: Vocabulary) -> None:
        """Raise UnknownIdError, with the name of the file, for an id of a file that is unknown."""
        from mmx.errors import UnknownIdError

        for place, ids in self.parts.items():
            if isinstance(place, Path) and ids:
                try:
                    vocabulary.numbers(ids)
                except UnknownIdError as error:
                    raise UnknownIdError(f"{place}: {error}") from error


def item_lists(
    option: str, texts: list[str] | None, csv: CsvFormat, may_be_empty: bool = False
) -> IdLists | None:
    """Of texts such as A,B,C and @FILE; None where the option was not given."""
    from mmx.errors import OptionError

    if texts is None:
        return None
    found = IdLists(dict(_part(text, csv) for text in texts))
    if not found.ids and not may_be_empty:
        raise OptionError(f"{option} names no item; give at least one, or leave it out")
    return found


def user_list(file: Path | None, csv: CsvFormat) -> IdLists | None:
    """The users of --users; None where it was not given."""
    from mmx.data.id_lists import read_ids
    from mmx.errors import OptionError

    if file is None:
        return None
    found = IdLists({file: read_ids(file, csv, "user_id").to_pylist()})
    if not found.ids:
        raise OptionError(f"--users {file} names no user; give at least one")
    return found


def _part(text: str, csv: CsvFormat) -> tuple[Path | str, list[str]]:
    from mmx.data.id_lists import read_ids

    if not text.startswith("@"):
        return text, [part.strip() for part in text.split(",") if part.strip()]
    return Path(text[1:]), read_ids(Path(text[1:]), csv).to_pylist()
