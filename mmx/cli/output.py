"""What the terminal shows: tables and JSON on stdout, progress and complaints on stderr."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

COMMANDS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
SILENT = {  # of libraries that are imported later
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "PYTHONWARNINGS": "ignore",  # of worker processes
}
NARROWEST = 10  # characters of a column, its border included


@dataclass
class PrintSettings:
    """What --debug and --quiet set for the whole process, and what a command leaves behind."""

    debug: bool = False
    quiet: bool = False
    kept: str = ""  # of a command that is interrupted now
    program: bool = False  # whether the process is ours, and not one that tests the commands


settings = PrintSettings()


def _set_debug(value: bool) -> bool:
    settings.debug = settings.debug or value
    return value


def _set_quiet(value: bool) -> bool:
    settings.quiet = settings.quiet or value
    if value and settings.program:  # libraries are quiet, too
        warnings.simplefilter("ignore")
        for name, setting in SILENT.items():
            os.environ.setdefault(name, setting)
    return value


AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        callback=_set_quiet,
        help="No progress, notes or summary; only errors and the result.",
    ),
]
Debug = Annotated[
    bool, typer.Option("--debug", callback=_set_debug, help="Show tracebacks of errors.")
]


def complain(message: str) -> None:
    """One line on stderr."""
    print(f"mmx: error: {printable(message)}", file=sys.stderr)


def keeps(what: str) -> None:
    """What an interrupted command leaves from here on; printed when it is interrupted."""
    settings.kept = what


def note(message: str) -> None:
    """A line of summary on stderr, unless --quiet."""
    if not settings.quiet:
        Console(stderr=True, highlight=False).print(
            printable(message), markup=False, soft_wrap=True
        )


def print_json(value: object) -> None:
    """JSON on stdout; NaN becomes null, which JSON has."""
    print(json.dumps(_plain(value), ensure_ascii=False, indent=2, default=str))


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    title: str = "",
    *,
    decimals: int | None = None,
    paged: bool = False,
) -> None:
    """A table on stdout; numbers to the right. ``paged``: in a pager where a screen is too small.

    Numbers are printed in full, fractions with ``decimals`` places where that is given. What is
    cut ends in ``…``; piped output is not cut to the screen.
    """
    rows = [list(row) for row in rows]
    wide = max(160, len(columns) * NARROWEST)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else wide)
    shown = min(len(columns), console.width // NARROWEST) or 1
    table = Table(header_style="bold")
    for place, name in enumerate(columns[:shown]):
        numeric = any(isinstance(row[place], (int, float, Decimal)) for row in rows)
        table.add_column(Text(_cell(name)), justify="right" if numeric else "left", overflow="fold")
    cut = shown < len(columns)
    if cut:
        table.add_column("…")
    for row in rows:
        cells = [Text(_cell(value, decimals)) for value in row[:shown]]
        table.add_row(*cells, *(["…"] if cut else []))
    if title:  # above the table, since rich would break it at the table's width
        console.print(Text(title, style="italic"), soft_wrap=True)
    if paged and sys.stdout.isatty():
        with console.capture() as captured:
            console.print(table)
        page(captured.get())
    else:
        console.print(table)
    if cut:
        note(f"{shown} of {len(columns)} columns; --json gives all")


def page(text: str) -> None:
    """Text on the terminal, through $PAGER or less where it has more lines than the screen."""
    if text.count("\n") < shutil.get_terminal_size().lines:
        print(text, end="")
        return
    import pydoc

    os.environ.setdefault("LESS", "FRX")  # colours as such, and what was shown stays
    pydoc.pager(text)


class Bar(Progress):
    """Progress of which nothing stays when an error ends the command before anything was done."""

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if kind is not None and not any(task.completed for task in self.tasks):
            self.live.transient = True  # a terminal clears it
            self.console.quiet = not self.console.is_terminal  # a file has it printed at the end
        super().__exit__(kind, error, traceback)


def progress_bar(*extra: str) -> Progress:
    """A progress bar on stderr; ``extra`` names task fields shown at its end."""
    return Bar(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        *(TextColumn("{task.fields[" + name + "]}") for name in extra),
        console=Console(stderr=True),
        disable=settings.quiet,
        transient=False,
    )


def listed(value: object) -> object:
    """A dict or a list as one cell; anything else as it is."""
    if isinstance(value, dict):
        return ", ".join(f"{key}={inner}" for key, inner in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value


def _cell(value: Any, decimals: int | None = None) -> str:
    if value is None:
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return repr(value) if decimals is None else f"{value:,.{decimals}f}"
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], float):
        return f"[{', '.join(map(repr, value[:4]))}{', …' if len(value) > 4 else ''}]"
    text = printable(" ".join(str(value).split()))
    return text if len(text) <= 100 else f"{text[:99]}…"


def printable(text: str) -> str:
    """The text with terminal controls and changes of direction written as ``\\x1b``."""
    return COMMANDS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
