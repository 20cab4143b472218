"""Errors that go from one process to another."""

from __future__ import annotations

import pickle
import traceback


def sendable(error: BaseException) -> BaseException:
    """The error with its traceback as text, since pickle keeps no other."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
