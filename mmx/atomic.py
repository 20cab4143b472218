"""Replace a file or a folder whole: a kill at any moment leaves the old one or the new one.

    replacing(path)    mmx's own files: state, caches, finished parts
    publishing(path)   what a user named by --out: checked, locked, never replaced unasked
    claimed(path)      the same for a job that works towards its result for a long time

What is being written has a temporary name beside its target, which says whose it is:
``.clip.parquet.PID.tmp``. A kill can leave it there; ``sweep`` takes away those of the dead.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import NamedTuple

from mmx.errors import TargetError, cannot_write
from mmx.locks import locked, trying

_HERE, _NO_REPLACE, _EXCHANGE = -100, 1, 2  # AT_FDCWD and flags of Linux's renameat2


class Kind(NamedTuple):
    """What is being written, and how to tell one of its kind from what mmx did not make."""

    name: str  # as messages have it: "an embedding store"
    recognises: Callable[[Path], bool]  # whether all that stands at a path may be replaced


@dataclass(frozen=True)
class Claim:
    """A target that this process alone works towards; see ``claimed``."""

    path: Path
    kind: Kind
    overwrite: bool

    @contextmanager
    def filled(self, *, folder: bool = False) -> Iterator[Path]:
        """Give a temporary name beside the target; on success put it in place in one step.

        With ``folder`` it is an empty folder to be filled. What stands at the target is looked
        at once more before it is replaced. On failure what was written is removed and the
        target is as it was. Raises TargetError when the target cannot be written (read-only,
        disk full) or something else has come there meanwhile.
        """
        with _temporary(self.path, folder) as temporary:
            yield temporary
            _sync_all(temporary)
            check_target(self.path, self.kind, self.overwrite)
            _place(temporary, self.path, replace=self.overwrite)


def check_target(path: Path, kind: Kind, overwrite: bool = False, *, parents: bool = True) -> None:
    """Refuse, before any work, a target that must not be touched.

    Raises TargetError when something stands there that is not of the ``kind`` or, without
    ``overwrite``, is; and without ``parents`` when the folder around it is missing. An empty
    folder is in nobody's way.
    """
    if not parents and not path.absolute().parent.is_dir():
        raise TargetError(f"no folder {path.parent} for {path.name}; create it first")
    if not os.path.lexists(path) or _is_empty_folder(path):
        return
    if not kind.recognises(path):
        raise TargetError(
            f"{path} is not {kind.name}, or holds more than that; nothing else is replaced, "
            "--overwrite or not: set --out elsewhere"
        )
    if not overwrite:
        raise TargetError(f"{path} exists; set --out elsewhere, or --overwrite")


@contextmanager
def claimed(
    path: Path, kind: Kind, *, overwrite: bool = False, parents: bool = True
) -> Iterator[Claim]:
    """Hold ``path`` for this process alone until the end of the block; see ``check_target``.

    Raises TargetError when the target must not be touched, or another process holds it.
    """
    path = _followed(path)
    check_target(path, kind, overwrite, parents=parents)
    with locked(path):
        check_target(path, kind, overwrite)  # another process may just have finished
        _recover(path)
        sweep(path)
        yield Claim(path, kind, overwrite)


@contextmanager
def claimed_name(folder: Path, name: str, kind: Kind) -> Iterator[Claim]:
    """Hold ``folder/name``, or the first of ``name-2``, ``name-3`` … that nobody has or holds."""
    path, number = folder / name, 2
    while True:
        if not os.path.lexists(path):
            with trying(path) as mine:
                if mine and not os.path.lexists(path):
                    sweep(path)
                    yield Claim(path, kind, overwrite=False)
                    return
        path, number = folder / f"{name}-{number}", number + 1


@contextmanager
def publishing(
    path: Path, kind: Kind, *, overwrite: bool = False, folder: bool = False, parents: bool = True
) -> Iterator[Path]:
    """``claimed`` and ``filled`` in one: a temporary path that becomes ``path`` on success."""
    with (
        claimed(path, kind, overwrite=overwrite, parents=parents) as claim,
        claim.filled(folder=folder) as temporary,
    ):
        yield temporary


@contextmanager
def replacing(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """Replace what mmx itself keeps at ``path``, as ``Claim.filled`` does, unasked.

    Without a lock: of two processes the later one wins. A folder that is not empty is never
    replaced. Raises TargetError when ``path`` cannot be written.
    """
    with _temporary(_followed(path), folder) as temporary:
        yield temporary
        _sync_all(temporary)
        temporary.replace(_followed(path))
        _sync(path.absolute().parent)


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


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _temporary(path: Path, folder: bool) -> Iterator[Path]:
    """The name to write to; whatever has it at the end is removed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove(temporary)
        if folder:
            temporary.mkdir()
        yield temporary
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            remove(temporary)


def _place(temporary: Path, path: Path, *, replace: bool) -> None:
    """Give the finished file or folder its name. Raises OSError when it is taken."""
    if not os.path.lexists(path) or _is_empty_folder(path):
        if _is_empty_folder(path):
            path.rmdir()
        _rename_new(temporary, path)
    elif replace:
        _swap(temporary, path)
    _sync(path.absolute().parent)


def _rename_new(temporary: Path, path: Path) -> None:
    """Rename to a name that must be free."""
    try:
        _renameat2(temporary, path, _NO_REPLACE)
    except OSError as error:
        if error.errno == errno.EEXIST:
            raise
        if os.path.lexists(path):  # no such call here: the lock keeps other mmx away meanwhile
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
        temporary.rename(path)


def _swap(temporary: Path, path: Path) -> None:
    """Put the new one in the old one's place; the temporary name then holds the old one."""
    if not temporary.is_dir() and not path.is_dir():
        temporary.replace(path)
        return
    try:
        _renameat2(temporary, path, _EXCHANGE)
    except OSError:  # no such call here, or the file system cannot
        old = set_aside(path)
        remove(old)
        path.rename(old)
        temporary.rename(path)
        remove(old)


def _renameat2(one: Path, other: Path, flag: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):
        raise OSError(errno.ENOSYS, "renameat2")
    names = [ctypes.c_char_p(os.fsencode(path.absolute())) for path in (one, other)]
    if library.renameat2(_HERE, names[0], _HERE, names[1], ctypes.c_uint(flag)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _recover(path: Path) -> None:
    """Undo a swap that a kill cut between its two renames, where names cannot be exchanged."""
    if set_aside(path).exists() and not os.path.lexists(path):
        set_aside(path).rename(path)


def _followed(path: Path) -> Path:
    """Where a symbolic link leads: what it points at is written, as ``open`` would do."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and next(path.iterdir(), None) is None


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
