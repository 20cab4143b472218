"""Be the only process of this machine that writes a path.

A lock is an empty file next to the path, ``.clip.parquet.lock``, held by flock: it ends with the
process that holds it, however that ends.
"""

from __future__ import annotations

import errno
import fcntl
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmx.errors import TargetError, cannot_write

NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)


@contextmanager
def locked(path: Path, called: object = None) -> Iterator[None]:
    """Hold ``path`` until the end of the block. Raises TargetError when another process does.

    ``called`` is what the error calls it, where the user knows it by another name.
    """
    with trying(path) as mine:
        if not mine:
            raise TargetError(
                f"another process is writing {called or path}; wait for it or set --out elsewhere"
            )
        yield


@contextmanager
def trying(path: Path) -> Iterator[bool]:
    """Try to hold ``path`` until the end of the block; whether it is held."""
    lock = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = _held(lock)
    except OSError as error:
        raise cannot_write(lock, error) from error
    try:
        yield handle is not None
    finally:
        if handle is not None:
            with suppress(OSError):
                lock.unlink()  # before it is released: who opened it meanwhile checks again
            os.close(handle)


def _held(lock: Path) -> int | None:
    """The open file that holds the lock; None when another process has it."""
    while True:
        handle = os.open(lock, os.O_CREAT | os.O_RDONLY, 0o666)  # flock needs no more
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_open_at(handle, lock):
                return handle
        except BlockingIOError:
            os.close(handle)
            return None
        except OSError as error:
            if error.errno in NO_LOCKS:
                warnings.warn(f"{lock}: there are no locks on this file system; let only one "
                              "command write there at a time", stacklevel=2)  # fmt: skip
                return handle
            os.close(handle)
            raise
        os.close(handle)  # the one before has just removed it


def _is_open_at(handle: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), path.stat())
    return False
