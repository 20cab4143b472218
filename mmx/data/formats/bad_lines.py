"""Lines that cannot be read: an error that names the first, or a count of all."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from mmx.errors import DataError


@dataclass
class BadLines:
    """What ``--skip-bad-lines`` says, and what it left out."""

    skip: bool = False
    count: int = 0
    first: str = ""  # the first that was left out, in one line
    by_file: dict[str, int] = field(default_factory=dict)

    def found(self, path: Path, line: int | str, reason: str, lines: int = 1) -> None:
        """``lines`` bad lines, of which this is the first: its number, or where it is in words.

        Raises DataError unless they are skipped.
        """
        where = f"line {line}" if isinstance(line, int) else line
        said = f"{path}: {where}: {reason}"
        if not self.skip:
            raise DataError(f"{said}; fix the file, or --skip-bad-lines leaves such lines out")
        self.first = self.first or said
        self.count += lines
        self.by_file[path.name] = self.by_file.get(path.name, 0) + lines
