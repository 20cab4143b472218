"""Every error mmx raises on purpose.

    MmxError
    ├── DataError        a dataset directory or table that breaks its contract
    ├── EncoderError     an encoder that cannot be found, loaded or trusted
    ├── StoreError       an embedding store that is unreadable, foreign or contradictory
    │   └── DamagedError a store's file whose bytes are not those that were written
    ├── RunError         a run directory that is missing, broken or of another version
    ├── TargetError      a file or folder that cannot be written, or must not be replaced
    ├── UnknownIdError   an id that is not in a vocabulary
    ├── QueryError       SQL that DuckDB refuses
    └── OptionError      contradictory, unused or misspelt options

A message is one line: what was found, what was expected, and the command or option that
fixes it. The CLI prints it without a traceback and leaves with exit code 1 (2 for options).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

NO_MEMORY = (  # in the messages of a CPU, of a GPU, and of its libraries
    "out of memory", "can't allocate memory", "not enough memory", "cublas_status_alloc_failed",
    "cublas_status_not_initialized", "cudnn_status_alloc_failed", "cudnn_status_not_initialized",
    "unable to find an engine", "unable to find a valid cudnn algorithm",
)  # fmt: skip


class MmxError(Exception):
    """Base of all errors that mmx raises on purpose."""


class DataError(MmxError):
    """A dataset directory or table breaks its contract."""


class EncoderError(MmxError):
    """An encoder cannot be found, loaded or trusted."""


class StoreError(MmxError):
    """An embedding store is unreadable, foreign or contradictory."""


class DamagedError(StoreError):
    """A store's file whose bytes are not those that were written."""


class RunError(MmxError):
    """A run directory is missing, broken or of another version."""


class TargetError(MmxError):
    """A file or folder cannot be written, or must not be replaced."""


class UnknownIdError(MmxError):
    """An id is not in the vocabulary it was looked up in."""


class QueryError(MmxError):
    """DuckDB refuses the SQL."""


class OptionError(MmxError):
    """Options contradict each other, go unused or are misspelt."""


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def cannot_write(path: Path, error: OSError) -> TargetError:
    """One line that says why, and what to do."""
    reason = os.strerror(error.errno) if error.errno else first_line(error)
    full = "free the disk and run it again, or " if error.errno in FULL else ""
    return TargetError(f"cannot write {path}: {reason}; {full}set --out elsewhere")


@contextmanager
def ctrl_c() -> Iterator[None]:
    """Around DuckDB's work: a RuntimeError that it makes of Ctrl-C is a KeyboardInterrupt again."""
    try:
        yield
    except RuntimeError as error:
        if "query interrupted" not in str(error).lower():
            raise
        raise KeyboardInterrupt from error


def first_line(error: BaseException) -> str:
    """What an error says, in one line: the first that is not blank, else the name of its class."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)


def out_of_memory(error: BaseException) -> bool:
    """Whether the error says that the memory of a CPU or GPU is used up; imports no torch."""
    if {kind.__name__ for kind in type(error).__mro__} & {"MemoryError", "OutOfMemoryError"}:
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in NO_MEMORY)


def first_few(values: Iterable[object], limit: int = 3) -> str:
    """The first few values for an error message: ``a, b, c and 7 more``."""
    listed = [str(value).replace("\n", "\\n") or "''" for value in values]
    head = ", ".join(listed[:limit])
    return head if len(listed) <= limit else f"{head} and {len(listed) - limit} more"


def suggestion(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'vbpr'?`` when one of the known names is close, else what is known."""
    names = list(known)
    close = get_close_matches(word, names, n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(names)}"


def one_of(option: str, value: str, known: Iterable[str]) -> None:
    """Refuse a value of ``option`` that is none of its choices. Raises OptionError.

    Called wherever a choice is taken, so that a misspelling never means another choice.
    """
    names = list(known)
    if not isinstance(value, str):
        kind = type(value).__name__
        raise OptionError(f"{option} is a {kind}; text is expected, one of {', '.join(names)}")
    if value not in names:
        shown = value if value.strip() else repr(value)
        raise OptionError(f"{option} {shown} is unknown{suggestion(value, names)}")
