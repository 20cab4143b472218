"""A class of someone else's code, and one line for what goes wrong in it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

from mmx.errors import MmxError, RunError, first_line

OURS = str(Path(__file__).parents[1])  # the package mmx


@dataclass(frozen=True)
class Member:
    """What is known of a class: by which name it is called, and the code that it is from."""

    name: str  # mine.py:Model; of a file without its folder
    sha256: str | None = None  # of the code's file; None where there is no file
    file: str | None = None  # whose lines are named
    package: str = ""  # "shopmodels 1.2", which offers it
    folder: str = ""  # of the package that the file is in; its lines are named, too

    def record(self) -> dict[str, Any]:
        """What a run or a card keeps of it."""
        package = {"package": self.package} if self.package else {}
        return {"name": self.name, "sha256": self.sha256, **package}

    @contextmanager
    def blamed(
        self,
        kind: type[MmxError] = RunError,
        hook: str = "",
        passing: Callable[[BaseException], bool] = lambda error: False,
    ) -> Iterator[None]:
        """An error of this code in the block becomes one of a ``kind``, in one line.

        The line names the file, where in it, the hook and what was raised. Errors that mmx raises
        on purpose, and those that are ``passing``, stay as they are, but a RunError gets the name.
        """
        try:
            yield
        except MmxError as error:
            if type(error) is not RunError or str(error).startswith(self.name):
                raise
            raise RunError(f"{self.name}: {error}") from error
        except (Exception, SystemExit) as error:
            said = None if passing(error) else self._said(error, hook)
            if said is None:
                raise
            raise kind(said) from error

    def _said(self, error: BaseException, hook: str) -> str | None:
        """The line; None for an error that came from other code."""
        raised = f"{type(error).__name__}: {first_line(error)}"
        if isinstance(error, SyntaxError) and self._is_own(str(error.filename)):
            file = Path(str(error.filename)).name
            return f"{file}:{error.lineno}: {type(error).__name__}: {error.msg}"
        frames = _frames(error)
        own = [(code, line) for code, line in frames if self._is_own(code.co_filename)]
        if own:
            first, (last, line) = own[0][0].co_qualname, own[-1]
            where = "importing it" if first == "<module>" else first
            file = Path(last.co_filename).name
            return f"{file}:{line}: {where} raised {raised}; --debug shows the traceback"
        if isinstance(error, AssertionError):  # of mmx.testing
            return None
        if all(_is_ours(code.co_filename) for code, _ in frames):  # a wrong signature, a gradient
            return f"{self.name}: {hook or 'calling it'} raised {raised}; --debug shows where"
        return None

    def _is_own(self, file: str) -> bool:
        return file == self.file or bool(self.folder and file.startswith(f"{self.folder}/"))


def _frames(error: BaseException) -> list[tuple[CodeType, int]]:
    """The code and line of each frame, the outermost first."""
    found, trace = [], error.__traceback__
    while trace is not None:
        found.append((trace.tb_frame.f_code, trace.tb_lineno))
        trace = trace.tb_next
    return found


def _is_ours(file: str) -> bool:
    """Whether a file is of mmx, of torch, or of Python itself as generated code is."""
    torch = sys.modules.get("torch")
    packages = [OURS, *([str(Path(str(torch.__file__)).parent)] if torch else [])]
    return file.startswith("<") or any(file.startswith(f"{package}/") for package in packages)
