"""The command line: parse, call one function, print. Imports no torch at start."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the CLI. Leaves with 0 done, 1 a mistake in the input, 2 usage, 130 interrupted."""
    from mmx.cli.app import app
    from mmx.cli.output import complain, settings
    from mmx.errors import MmxError, OptionError

    try:
        app()
    except MmxError as error:
        if settings.debug:
            raise
        complain(str(error))
        sys.exit(2 if isinstance(error, OptionError) else 1)
    except KeyboardInterrupt:
        complain("interrupted; finished parts are kept and the same command goes on")
        sys.exit(130)
    except BrokenPipeError:  # `mmx sql … | head`
        sys.stderr.close()
    except Exception as error:
        if settings.debug:
            raise
        complain(f"unexpected {type(error).__name__}: {error}; --debug shows where, please report")
        sys.exit(1)
