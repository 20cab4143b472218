"""Pictures by path or by URL: files below a folder, web addresses, objects in a store."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from mmx.errors import DataError
from mmx.extract.images import ImageError
from mmx.extract.sources.web import Web
from mmx.files import Place, RemotePath, is_url

if TYPE_CHECKING:
    from mmx.extract.sources.fetching import Fetcher

WEB = ("http", "https")
STORES = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "r2")
READERS = 4  # threads, of a local disk


class Paths:
    """Reads ``folder/image``, or ``image`` where that is a URL.

    ``remote`` says whether any picture is elsewhere, so that more threads than a disk needs are
    of use. A remote picture is known by its URL: it is not fetched again to see whether it has
    changed.
    """

    def __init__(self, folder: Place, web: Web, remote: bool = True) -> None:
        self.folder, self.web, self.remote = folder, web, remote
        self.readers = web.connections if remote else READERS
        self._lock = threading.Lock()
        self._made: Fetcher | None = None

    def share(self, count: int) -> Paths:
        """For one of ``count`` processes, which together are as polite to a host as one."""
        return Paths(self.folder, self.web.share(count), self.remote)

    def __reduce__(self) -> tuple[type[Paths], tuple[Place, Web, bool]]:
        return Paths, (self.folder, self.web, self.remote)

    def __call__(self, image: str, /) -> bytes:
        """The encoded picture."""
        url = self._url(image)
        if url is not None:
            return self._remote(url)
        assert isinstance(self.folder, Path)
        try:
            return read_bytes(self.folder, image)
        except ImageError:
            raise_ambiguous(image)
            raise

    def identity(self, image: str) -> bytes | None:
        """The URL, of remote pictures."""
        url = self._url(image)
        return None if url is None else url.encode(errors="replace")

    def _url(self, image: str) -> str | None:
        """What to fetch; None for a file of this machine."""
        if is_url(image):
            return image.strip()
        return None if isinstance(self.folder, Path) else str(self.folder / image)

    def _remote(self, url: str) -> bytes:
        scheme = url.partition("://")[0].lower()
        if scheme in WEB:
            return self._fetcher()(url)
        known = (*STORES, str(self.folder).partition("://")[0])
        if scheme not in known or "::" in url:
            raise ImageError(f"{scheme}:// is no place for pictures")
        try:
            return RemotePath(url).read_bytes()
        except FileNotFoundError:
            raise_ambiguous(url)
            raise ImageError("file not found") from None
        except DataError as error:
            raise ImageError(reason(error)) from error

    def _fetcher(self) -> Fetcher:
        """Made for the first web address, since few tables have any."""
        from mmx.extract.sources.fetching import Fetcher

        with self._lock:
            self._made = self._made or Fetcher(self.web)
        return self._made


def raise_ambiguous(image: str) -> None:
    """``12.{jpg,png}`` stands for an item that several files are called by."""
    several = re.fullmatch(r".*\.\{(.+)\}", image)
    if several:
        endings = several.group(1).split(",")
        raise ImageError(f"several files: {', '.join(f'.{e}' for e in endings)}") from None


def reason(error: DataError) -> str:
    """A place's error without the place: many rows share it."""
    return re.sub(r"^\S+: the driver|^\S+ cannot be", lambda m: m[0].split(" ", 1)[1], str(error))


def read_bytes(directory: Path, image: str) -> bytes:
    """The encoded picture. Raises ImageError with the reason why it cannot be read."""
    try:
        return (directory / image).read_bytes()
    except FileNotFoundError:
        raise ImageError("file not found") from None
    except IsADirectoryError:
        raise ImageError("a directory, not a file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageError(f"unreadable: {reason.lower()}") from error
