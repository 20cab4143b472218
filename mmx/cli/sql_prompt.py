"""The prompt of ``mmx sql``: history, completion, statements of several lines, Ctrl-C.

It is Python's own ``readline``: that edits lines, searches a history and completes words, and
nothing has to be installed for it. Where Python has none, the prompt works without these.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mmx.cli.output import complain, note, print_table
from mmx.cli.sql_input import has_code, split, without_comments
from mmx.errors import MmxError

if TYPE_CHECKING:
    from mmx.sql import Sql

ENTRIES = 1000  # of the history
DELIMITERS = " \t\n()[],;=<>+*/'|:"  # of words; a name may have dots, dashes and double quotes
LEAVING = ("exit", "quit")  # with a dot or without one
WORDS = (".exit", ".help", ".tables")
HELP = """\
.help     this
.tables   the views: stores, runs and datasets
.exit     leave, as Ctrl-D does

A statement ends with a semicolon and may have several lines. Tab completes tables, columns,
macros, functions and keywords. Ctrl-C stops a query, or forgets what was typed.

cosine(a, b)              similarity of two vectors
nearest(store, item, k)   the k most similar items, in FROM
"""


def prompt(opened: Sql, show: Callable[[str], None]) -> None:
    """Read statements from a terminal and ``show`` their answers, until Ctrl-D or .exit."""
    note("end a statement with ; .help says more, Ctrl-D ends")
    with _line_editing(opened) as remember, _ended_by_sigterm() as leave_if_ended:
        held = ""
        while True:
            try:
                line = _typed("...> " if has_code(held) else "mmx> ")
                if line is None:
                    return
                command = line.strip()
                if (command.startswith(".") or command.lower() in LEAVING) and not has_code(held):
                    remember(command)
                    if _dotted(opened, command):
                        return
                    continue
                done, held = split(f"{held}{line}\n")
                for statement in done:
                    remember(without_comments(statement))
                    _answer(statement, show)
                    leave_if_ended()
            except KeyboardInterrupt:  # at the line, or before or after a query
                print()
                held = ""


def _typed(sign: str) -> str | None:
    """A line; None at the end, which is Ctrl-D."""
    try:
        return input(sign)
    except EOFError:
        print()
        return None


def _answer(statement: str, show: Callable[[str], None]) -> None:
    """Show it, or say what went wrong; nothing ends the prompt."""
    try:
        show(statement)
    except MmxError as error:
        complain(str(error))
    except KeyboardInterrupt:
        print()
        complain("interrupted")
    except BrokenPipeError:  # of a pager that was left
        pass


def _dotted(opened: Sql, line: str) -> bool:
    """Do what a line with a dot says; whether it is the end."""
    word = line.split(maxsplit=1)[0].lower().rstrip(";")
    if word.lstrip(".") in LEAVING:
        return True
    if word == ".tables":
        print_table(["view"], [[name] for name in opened.views], paged=True)
    elif word == ".help":
        print(HELP, end="")
    else:
        complain(f"{word} is unknown; known: {', '.join(WORDS)}")
    return False


@contextmanager
def _ended_by_sigterm() -> Iterator[Callable[[], None]]:
    """SIGTERM ends the prompt; Ctrl-C, which is the same elsewhere, does not.

    Yields what ends it where DuckDB was interrupted by the signal.
    """
    seen: list[int] = []

    def end(number: int, _: object) -> None:
        seen.append(number)
        sys.exit(143)

    def ended() -> None:
        if seen:
            sys.exit(143)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield ended
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _line_editing(opened: Sql) -> Iterator[Callable[[str], None]]:
    """Completion and history; yields what adds a line to the history, and to its file."""
    try:
        import readline
    except ImportError:
        yield lambda line: None
        return
    readline.set_auto_history(False)
    readline.set_completer_delims(DELIMITERS)
    readline.set_completer(Completer(opened))
    editline = "libedit" in (readline.__doc__ or "")  # of macOS and some builds of Python
    readline.parse_and_bind("bind ^I rl_complete" if editline else "tab: complete")
    path = _history(readline)
    try:
        yield lambda line: _remember(readline, line, path)
    finally:
        readline.set_completer(None)


def _history(readline: ModuleType) -> Path | None:
    """Read the history; its file, None where it cannot be kept."""
    from mmx.files import user_state

    path = user_state() / "sql_history"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        readline.set_history_length(ENTRIES)
        readline.read_history_file(path)
    except OSError as error:
        note(f"no history is kept: {path}: {error.strerror}")
        return None
    return path


def _remember(readline: Any, line: str, path: Path | None) -> None:
    count = readline.get_current_history_length()
    if not line or (count and readline.get_history_item(count) == line):
        return
    readline.add_history(line)
    with suppress(OSError):
        if path is not None:  # at once: nothing is lost in a kill
            readline.append_history_file(1, path)


class Completer:
    """What ``readline`` asks for the words that start as the one at the cursor."""

    def __init__(self, opened: Sql) -> None:
        self._opened = opened
        self._found: list[str] = []

    def __call__(self, text: str, state: int) -> str | None:
        """The ``state``-th word; None after the last."""
        if not state:
            self._found = self.matches(text)
        return self._found[state] if state < len(self._found) else None

    def matches(self, text: str) -> list[str]:
        """All of them, without regard to capitals; keywords in lower case."""
        start = text.lower()
        if start.startswith("."):
            return [word for word in WORDS if word.startswith(start)]
        table, dot, _ = text.rpartition(".")
        words = self._words
        if dot:  # of a table, or of a short name that the statement gives one
            names = self._columns.get(table.lower()) or sorted(set().union(*self._columns.values()))
            words = [*self._opened.views, *(f"{table}.{name}" for name in names)]
        return [word for word in dict.fromkeys(words) if word.lower().startswith(start)]

    @cached_property
    def _words(self) -> list[str]:
        """Views, then columns, functions and keywords."""
        columns = sorted(set().union(*self._columns.values()))
        functions = self._column("select distinct function_name from duckdb_functions() order by 1")
        keywords = self._column("select keyword_name from duckdb_keywords() order by 1")
        named = [name for name in functions if name.isidentifier()]
        return [*self._opened.views, *columns, *named, *keywords]

    @cached_property
    def _columns(self) -> dict[str, list[str]]:
        """The columns of each view, by how one writes it in lower case."""
        from mmx.sql_views import identifier

        found: dict[str, list[str]] = {}
        for view in self._opened.views:
            with suppress(MmxError):  # one that cannot be read has none
                schema = self._opened.stream(f"from {view} limit 0").schema
                found[view.lower()] = [identifier(name) for name in schema.names]
        return found

    def _column(self, query: str) -> list[str]:
        with suppress(MmxError):
            return [str(value) for value in self._opened.ask(query).column(0).to_pylist()]
        return []
