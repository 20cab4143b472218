"""Files and folders by path or URL: the part of pathlib that reading needs, over fsspec.

    Path("DIR")                 on this machine
    RemotePath("s3://b/DIR")    in an object store or on a web server

Drivers come with extras (``pip install 'mmx[s3]'``); each driver finds its own credentials.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from mmx.errors import DataError, MmxError, OptionError, first_line

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "http": "http", "https": "http"}


@dataclass(frozen=True, order=True)
class RemotePath:
    """A file or folder by URL. Methods do what pathlib's do, and raise DataError when the
    place cannot be reached: no driver, no credentials, no answer."""

    url: str  # without a slash at its end

    @property
    def fs(self) -> Any:
        """The fsspec file system, without cached listings, since others may write there."""
        import fsspec

        try:
            return fsspec.filesystem(self.scheme, use_listings_cache=False)
        except ImportError as error:
            extra = EXTRAS.get(self.scheme)
            fix = f"pip install 'mmx[{extra}]'" if extra else first_line(error)
            raise DataError(
                f"{self}: the driver of {self.scheme}:// is not installed; {fix}"
            ) from error
        except ValueError as error:
            raise DataError(f"{self}: no driver is known for {self.scheme}://") from error

    @property
    def scheme(self) -> str:
        """``s3`` and the like."""
        return self.url.partition("://")[0]

    @property
    def name(self) -> str:
        """The last part."""
        return self.url.rsplit("/", 1)[-1]

    @property
    def stem(self) -> str:
        """The last part without its suffix."""
        return Path(self.name).stem

    @property
    def suffix(self) -> str:
        """``.parquet`` and the like."""
        return Path(self.name).suffix

    @property
    def parent(self) -> RemotePath:
        """The folder around it."""
        return RemotePath(self.url.rsplit("/", 1)[0])

    def with_name(self, name: str) -> RemotePath:
        """Another file in the same folder."""
        return self.parent / name

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(f"{self.url}/{name.strip('/')}")

    def __str__(self) -> str:
        return self.url

    def exists(self) -> bool:
        """Whether there is anything."""
        return self._info() is not None

    def is_file(self) -> bool:
        """Whether it is a file."""
        return (self._info() or {}).get("type") == "file"

    def is_dir(self) -> bool:
        """Whether it is a folder, or a prefix of keys."""
        return (self._info() or {}).get("type") == "directory"

    def size(self) -> int:
        """Bytes of a file."""
        return int((self._info() or {}).get("size") or 0)

    def glob(self, pattern: str) -> list[RemotePath]:
        """The files in this folder that match, sorted."""
        with reaching(self):
            found = self.fs.glob(f"{self.url}/{pattern}")
            return sorted(RemotePath(self.fs.unstrip_protocol(path)) for path in found)

    def open(self, mode: str = "rb") -> Any:
        """A seekable file."""
        with reaching(self):
            return self.fs.open(self.url, mode)

    def read_bytes(self, start: int | None = None, stop: int | None = None) -> bytes:
        """The whole file, or the bytes from ``start`` to ``stop``."""
        with reaching(self):
            return bytes(self.fs.cat_file(self.url, start=start, end=stop))

    def download(self, target: Path) -> None:
        """Copy the file to this machine."""
        with reaching(self):
            self.fs.get_file(self.url, str(target))

    def upload(self, source: Path) -> None:
        """Copy a file there; in an object store others see the old one or the new one, whole."""
        with reaching(self):
            self.fs.put_file(str(source), self.url)

    def delete(self) -> None:
        """Remove the file."""
        with reaching(self):
            self.fs.rm_file(self.url)

    def version(self) -> str:
        """A text that changes when the file does; empty where there is no file."""
        found = self._info() or {}
        names = ("type", "size", "ETag", "etag", "LastModified", "mtime", "updated", "created")
        return json.dumps({name: str(found[name]) for name in names if name in found} or "")[1:-1]

    def _info(self) -> dict[str, Any] | None:
        with reaching(self):
            try:
                return dict(self.fs.info(self.url))
            except FileNotFoundError:
                return None


Place = Path | RemotePath


def as_place(text: str | Path | RemotePath) -> Place:
    """A place from what the user typed. Raises OptionError when it is empty or not a path."""
    if isinstance(text, Path | RemotePath):
        return text
    if not isinstance(text, str):
        return as_path(text)
    if not text:
        raise OptionError("an empty path; name a file, a folder or a URL (. is the folder here)")
    if text.startswith("file://"):
        return Path(text.removeprefix("file://"))
    remote = re.match(r"[A-Za-z][A-Za-z0-9+.-]+://.", text)
    return RemotePath(text.rstrip("/")) if remote else Path(text)


def as_path(path: str | os.PathLike[str]) -> Path:
    """A path of this machine, however it is given. Raises OptionError for anything else."""
    if isinstance(path, (str, os.PathLike)):
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", os.fspath(path)):  # pathlib makes one / of two
            raise OptionError(f"{path} is a URL; a path on this machine is expected here")
        return Path(path)
    shown = f"{path!r}".partition("\n")[0][:60]
    raise OptionError(f"{shown} is a {type(path).__name__}; a path is expected, as text or Path")


def as_paths(paths: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Several of them; a single one is a list of one. Raises OptionError likewise."""
    if isinstance(paths, (str, os.PathLike)):
        return [Path(paths)]
    if not isinstance(paths, Iterable):
        return [as_path(paths)]
    return [as_path(path) for path in paths]


def is_url(text: str) -> bool:
    """Whether it is a URL."""
    return "://" in text


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError for anything else, deep nesting too."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


@contextmanager
def reaching(place: Place) -> Iterator[None]:
    """Turn what drivers raise into one line; a file that is not there stays FileNotFoundError."""
    if isinstance(place, Path):
        yield
        return
    try:
        yield
    except (FileNotFoundError, MmxError):
        raise
    except Exception as error:
        said = first_line(error).rstrip(".")
        raise DataError(f"{place} cannot be reached: {said}") from error


@contextmanager
def readable(place: Place) -> Iterator[Any]:
    """What pyarrow reads a place by: its path, or an open file where there is no path.

    Given a path, threads of Arrow hold no Python object that they might release too late (see
    ``mmx.cli.program``).
    """
    if isinstance(place, Path):
        yield place
        return
    with reaching(place), place.open() as file:
        yield file


class NotRegularError(OSError):
    """A device, pipe or socket where a file is expected: reading it may never end."""


def open_regular(path: Path) -> BinaryIO:
    """A regular file, or a link to one, to be read. Raises OSError.

    Checked before it is opened, since opening alone can wait (a pipe) or do something (a
    device), and again afterwards, since it may have been replaced by then.
    """
    return os.fdopen(_opened(path)[0], "rb")


def read_regular(path: Path, most: int) -> bytes | int:
    """The bytes of a file as ``open_regular`` opens it, or their number where it is above ``most``.

    A file of size 0 is not read: files of /proc have it, and some never end.
    """
    number, size = _opened(path)
    try:
        return size if size > most else _read(number, size)
    finally:
        os.close(number)


def _read(number: int, size: int) -> bytes:
    data = os.read(number, size)
    while len(data) < size and (more := os.read(number, size - len(data))):
        data += more
    return data


def _opened(path: Path) -> tuple[int, int]:
    """A regular file's descriptor and size."""
    name = os.fspath(path)
    _must_be_regular(name, os.stat(name))
    number = os.open(name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        facts = os.fstat(number)
        _must_be_regular(name, facts)
    except OSError:
        os.close(number)
        raise
    return number, facts.st_size


def _must_be_regular(path: str, facts: os.stat_result) -> None:
    if stat.S_ISDIR(facts.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(facts.st_mode):
        raise NotRegularError(errno.EINVAL, "not a regular file", path)


def size_of(place: Place) -> int:
    """Bytes of a file."""
    return place.stat().st_size if isinstance(place, Path) else place.size()


def user_cache() -> Path:
    """Where unfinished work and indices of this user are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mmx"


def user_state() -> Path:
    """Where what this user did is remembered, such as the history of a prompt."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "mmx"
