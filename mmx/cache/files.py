"""Write a file or a folder so that a kill at any moment leaves the old one or the new one whole.

What is being written has a temporary name beside its target, which says whose it is:
``.clip.parquet.PID.tmp``. A kill can leave it there; ``sweep`` takes away those of the dead.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

from mmx.errors import StoreError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux's renameat2


@contextmanager
def replacing(path: Path, *, folder: bool = False, swap: bool = False) -> Iterator[Path]:
    """Give a temporary name beside ``path``; on success sync it and rename it to ``path``.

    With ``folder`` the temporary name is an empty folder to be filled. Only with ``swap`` may a
    folder that stands at ``path`` be replaced: it is deleted when the new one is in its place.
    On failure what was written is removed and ``path`` is as it was. Raises StoreError when the
    target cannot be written (read-only, disk full).
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if folder:
            remove(temporary)
            temporary.mkdir()
        yield temporary
        _sync_all(temporary)
        _place(temporary, path, swap)
        _sync(path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            remove(temporary)


def cannot_write(path: Path, error: OSError) -> StoreError:
    """One line that says why, and what mends it."""
    reason = os.strerror(error.errno) if error.errno else str(error).splitlines()[0]
    full = "free the disk and run it again, or " if error.errno in FULL else ""
    return StoreError(f"cannot write {path}: {reason}; {full}set --out elsewhere")


def write_text(path: Path, text: str) -> None:
    """Replace a small text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sweep(path: Path) -> None:
    """Delete what killed processes of this machine left beside ``path``; the living keep theirs."""
    for leftover in path.parent.glob(f".{escape(path.name)}.*.tmp"):
        process = leftover.name.split(".")[-2]
        if process.isdecimal() and not _alive(int(process)):
            with suppress(OSError):
                remove(leftover)


def set_aside(path: Path) -> Path:
    """Where the old one waits for a moment, on systems that cannot exchange two names."""
    return path.with_name(f".{path.name}.old")


def _place(temporary: Path, path: Path, swap: bool) -> None:
    folders = temporary.is_dir(), path.is_dir()
    if not any(folders) or not path.exists() or not swap:
        temporary.replace(path)  # of a folder over anything but an empty folder: an OSError
        return
    try:
        _exchange(temporary, path)  # the temporary name now holds the old one
    except OSError:  # no such call here, or the file system cannot
        old = set_aside(path)
        remove(old)
        path.replace(old)
        temporary.replace(path)
        remove(old)


def _exchange(one: Path, other: Path) -> None:
    """Swap two names in one step, whatever they are."""
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):
        raise OSError(errno.ENOSYS, "renameat2")
    names = [ctypes.c_char_p(os.fsencode(path.absolute())) for path in (one, other)]
    if library.renameat2(_HERE, names[0], _HERE, names[1], ctypes.c_uint(_EXCHANGE)):
        raise OSError(ctypes.get_errno(), "renameat2")


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return process != os.getpid()  # ours would be of an earlier process of the same number


def _sync_all(path: Path) -> None:
    if path.is_dir():
        for inner in path.iterdir():
            _sync_all(inner)
    _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
