"""Replace a file or a folder whole: a kill at any moment leaves the old one or the new one.

    replacing(path)    mmx's own files: state, caches, finished parts
    publishing(path)   what a user named by --out: checked, locked, replaced only if requested
    claimed(path)      the same for a job that takes long

What is being written has a temporary name next to its target, with the id of the process:
``.clip.parquet.PID.tmp``. A kill can leave it there; ``sweep`` deletes those of ended processes.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import NamedTuple

from mmx.errors import TargetError, cannot_write
from mmx.locks import locked, trying
from mmx.renaming import CANNOT, is_empty_folder, place, recover, remove

JOB = 12  # hexadecimal digits that name a job


class Kind(NamedTuple):
    """What is being written, and how to recognise one of its kind."""

    name: str  # as in messages: "an embedding store"
    recognises: Callable[[Path], bool]  # whether everything at a path may be replaced


@dataclass(frozen=True)
class Claim:
    """A target that only this process may write; see ``claimed``."""

    path: Path
    kind: Kind
    overwrite: bool

    @contextmanager
    def filled(self, *, folder: bool = False) -> Iterator[Path]:
        """Give a temporary name next to the target; on success put it in place in one step.

        With ``folder`` it is an empty folder to be filled. The target is checked once more
        before it is replaced. On failure what was written is removed and the target is as it
        was. Raises TargetError when the target cannot be written (read-only, disk full) or
        something else has appeared there meanwhile.
        """
        with _temporary(self.path, folder) as temporary:
            yield temporary
            _sync_all(temporary)
            check_target(self.path, self.kind, self.overwrite)
            place(temporary, self.path, replace=self.overwrite)
            _sync(self.path.absolute().parent)


def check_target(path: Path, kind: Kind, overwrite: bool = False, *, parents: bool = True) -> None:
    """Refuse, before any work, a target that must not be touched.

    Raises TargetError when something is there that is not of the ``kind``, or anything without
    ``overwrite``; and without ``parents`` when the folder around it is missing. An empty folder
    counts as nothing.
    """
    if not parents and not path.absolute().parent.is_dir():
        raise TargetError(f"no folder {path.parent} for {path.name}; create it first")
    try:
        if not os.path.lexists(path) or is_empty_folder(path):
            return
        ours = kind.recognises(path)
    except OSError as error:  # a folder or file that may not be read
        raise cannot_write(path, error) from error
    if not ours:
        raise TargetError(
            f"{path} is not {kind.name}, or holds other things too, and --overwrite replaces "
            "nothing else; set --out elsewhere, or delete it yourself"
        )
    if not overwrite:
        raise TargetError(f"{path} exists; set --out elsewhere, or --overwrite")


@contextmanager
def claimed(
    path: Path, kind: Kind, *, overwrite: bool = False, parents: bool = True
) -> Iterator[Claim]:
    """Hold ``path`` for this process until the end of the block; see ``check_target``.

    Raises TargetError when the target must not be touched, or another process holds it.
    """
    path = _followed(path)
    check_target(path, kind, overwrite, parents=parents)
    with locked(path):
        recover(path, kind.recognises)
        check_target(path, kind, overwrite)  # another process may just have finished
        sweep(path)
        yield Claim(path, kind, overwrite)


@contextmanager
def claimed_name(folder: Path, name: str, kind: Kind) -> Iterator[Claim]:
    """Hold ``folder/name``, or the first of ``name-2``, ``name-3`` … that is free and not held."""
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
    """Replace what mmx itself keeps at ``path``, as ``Claim.filled`` does, without ``--overwrite``.

    Without a lock: of two processes the later one wins. A folder that is not empty is never
    replaced. Raises TargetError when ``path`` cannot be written.
    """
    path = _followed(path)
    with _temporary(path, folder) as temporary:
        yield temporary
        _sync_all(temporary)
        temporary.replace(path)
        _sync(path.absolute().parent)


def write_text(path: Path, text: str) -> None:
    """Replace a small text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sweep(path: Path) -> None:
    """Delete what killed processes of this machine left by ``path``; running ones keep theirs."""
    for leftover in path.parent.glob(f".{escape(path.name)}.*.tmp"):
        process = leftover.name.split(".")[-2]
        if process.isdecimal() and not _alive(int(process)):
            with suppress(OSError):
                remove(leftover)


def unfinished(path: Path, job: str, ending: str) -> Path:
    """Where a job keeps what it needs to resume, next to its target: ``.NAME.JOB.ENDING``.

    ``job`` is a hash, so that no other job resumes from it.
    """
    return path.with_name(f".{path.name}.{job[:JOB]}.{ending}")


def all_unfinished(path: Path, ending: str) -> list[Path]:
    """What unfinished jobs with the target ``path`` kept."""
    own = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{{JOB}}}\.{ending}")
    similar = path.parent.glob(f".{escape(path.name)}.*.{ending}")
    return sorted(kept for kept in similar if own.fullmatch(kept.name))


def forget_unfinished(path: Path, ending: str) -> None:
    """Delete what unfinished jobs with the target ``path`` kept, and what kills left of that."""
    for kept in all_unfinished(path, ending):
        sweep(kept)
        remove(kept)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _temporary(path: Path, folder: bool) -> Iterator[Path]:
    """The name to write to; whatever still has it at the end is removed."""
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


def _followed(path: Path) -> Path:
    """The target of a symbolic link, which is what gets written, as by ``open``."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return process != os.getpid()  # with our own id it was an earlier process


def _sync_all(path: Path) -> None:
    if path.is_dir():
        for inner in path.iterdir():
            _sync_all(inner)
    _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:  # some file systems cannot sync folders
        if error.errno not in CANNOT or not path.is_dir():
            raise
    finally:
        os.close(handle)
