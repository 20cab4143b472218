"""The command line: parse, call one function, print. Imports no torch at start."""

from __future__ import annotations

import atexit
import os
import re
import signal
import sys
from contextlib import suppress

STOPPED = {130: "interrupted", 143: "terminated"}  # exit code → what happened


def program() -> None:
    """``mmx`` as a program: ``main``, then an end without taking the interpreter apart.

    Threads of Arrow and DuckDB may release Python objects a moment after their work is done.
    Before Python 3.14 one that does so while the interpreter is taken apart aborts the process,
    and a command that has done everything ends with SIGABRT. What is registered to run at exit
    does run, and the exit code is that of ``main``.
    """
    code = 1

    def end() -> None:
        try:
            if sys.stdout is not None:  # None where it was closed before the start
                sys.stdout.flush()
        except OSError:  # a full disk, of which main has complained, or nobody reads any more
            os._exit(code or 120)  # as the interpreter does
        os._exit(code)

    atexit.register(end)  # the first to be registered is the last to run
    try:
        main()
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
        if code in STOPPED:  # at once: the interpreter would wait for threads that wait for hosts
            atexit._run_exitfuncs()
        raise


def main() -> None:
    """Run the CLI.

    Leaves with 0 done, 1 a mistake in the input, 2 usage, 130 interrupted (SIGINT), 143
    terminated (SIGTERM).
    """
    from mmx.cli.app import app
    from mmx.cli.output import complain, settings
    from mmx.errors import MmxError, OptionError, ctrl_c
    from mmx.packages import broken_package, own_this_process

    own_this_process()
    settings.program, ended = True, _ended_by_sigterm()
    try:
        with ctrl_c():
            app()
    except MmxError as error:
        if settings.debug:
            raise
        complain(str(error))
        sys.exit(2 if isinstance(error, OptionError) else 1)
    except (KeyboardInterrupt, SystemExit) as left:  # Typer makes an exit with 130 of Ctrl-C
        if isinstance(left, SystemExit) and left.code != 130:
            raise
        code = 143 if ended else 130
        complain("; ".join(filter(None, (STOPPED[code], settings.kept))))
        sys.exit(code)
    except BrokenPipeError:  # `mmx sql … | head`
        sys.stderr.close()
    except Exception as error:
        if settings.debug:
            raise
        said = broken_package(error) or _not_utf8(error) or _full(error)
        if said is not None:
            complain(said)
            sys.exit(1)
        complain(f"unexpected {type(error).__name__}: {error}; --debug shows where, please report")
        sys.exit(1)


def _not_utf8(error: Exception) -> str | None:
    """What to say of an argument that nothing can write; None where it is another error.

    A shell passes any bytes on, and Python keeps them as lone surrogates.
    """
    if not isinstance(error, UnicodeEncodeError):
        return None
    odd = [one for one in sys.argv[1:] if re.search("[\ud800-\udfff]", one)]
    return f"the argument {odd[0]!r:.80} is not UTF-8; write it as UTF-8" if odd else None


def _full(error: Exception) -> str | None:
    """What to say where stdout, or another file, is on a full disk; None: it is another error."""
    from mmx.errors import FULL

    if not isinstance(error, OSError) or error.errno not in FULL:
        return None
    what = error.filename or "the output"
    return f"{what} cannot be written: {error.strerror}; free the disk, or send it elsewhere"


def _ended_by_sigterm() -> list[int]:
    """Have SIGTERM end the program as Ctrl-C does, all clean-up included; it is listed then."""
    seen: list[int] = []

    def end(number: int, _: object) -> None:
        seen.append(number)
        raise KeyboardInterrupt

    with suppress(ValueError):  # not in the main thread, so another program decides
        signal.signal(signal.SIGTERM, end)
    return seen
