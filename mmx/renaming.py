"""Give a finished file or folder its name in one step, also when the name is taken.

Linux exchanges two names in one step. Elsewhere two renames do it, and a kill between them leaves
the old one aside, from where ``recover`` puts it back.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

CANNOT = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)  # what a system or file system lacks
_HERE, _NO_REPLACE, _EXCHANGE = -100, 1, 2  # AT_FDCWD and flags of Linux's renameat2


def place(temporary: Path, path: Path, *, replace: bool) -> None:
    """Give the finished file or folder its name. Raises OSError when it is taken."""
    if not os.path.lexists(path) or is_empty_folder(path):
        if is_empty_folder(path):
            path.rmdir()
        _rename_new(temporary, path)
    elif replace:
        _swap(temporary, path)
    else:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


def _rename_new(temporary: Path, path: Path) -> None:
    """Rename to a name that must be free."""
    try:
        _renameat2(temporary, path, _NO_REPLACE)
    except OSError as error:
        if error.errno == errno.EEXIST:
            raise
        if os.path.lexists(path):  # no such call here: the lock keeps other mmx processes away
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
        temporary.rename(path)


def _swap(temporary: Path, path: Path) -> None:
    """Put the new one in the old one's place; the temporary name then holds the old one."""
    if not temporary.is_dir() and not path.is_dir():
        temporary.replace(path)
        return
    try:
        _renameat2(temporary, path, _EXCHANGE)
    except OSError as error:  # no such call here, or the file system cannot
        if error.errno not in CANNOT:
            raise
        old = set_aside(path)
        path.rename(old)
        try:
            temporary.rename(path)
        except OSError:
            old.rename(path)
            raise
        remove(old)


def _renameat2(one: Path, other: Path, flag: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):
        raise OSError(errno.ENOSYS, "renameat2")
    names = [ctypes.c_char_p(os.fsencode(path.absolute())) for path in (one, other)]
    if library.renameat2(_HERE, names[0], _HERE, names[1], ctypes.c_uint(flag)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def set_aside(path: Path) -> Path:
    """Where the old one is for a moment, on systems that cannot exchange two names."""
    return path.with_name(f".{path.name}.mmx-old")


def recover(path: Path, recognises: Callable[[Path], bool]) -> None:
    """Undo a swap that a kill cut between its two renames, or finish one cut after them.

    ``recognises`` says whether what was set aside is of the kind that was written.
    """
    old = set_aside(path)
    if not os.path.lexists(old) or not recognises(old):
        return
    if os.path.lexists(path):
        remove(old)
    else:
        old.rename(path)


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def is_empty_folder(path: Path) -> bool:
    """Whether it is a folder with nothing in it."""
    return path.is_dir() and not path.is_symlink() and next(path.iterdir(), None) is None
