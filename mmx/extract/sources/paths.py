"""Pictures by path or by URL: files below a folder, web addresses, objects in a store."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from mmx.errors import DataError
from mmx.extract.reasons import ImageError, Reason
from mmx.extract.sources.data_uris import is_data, read_data
from mmx.extract.sources.source import READERS, Source
from mmx.extract.sources.web import LARGEST, Web
from mmx.files import NotRegularError, Place, RemotePath, is_url, read_regular

if TYPE_CHECKING:
    from mmx.extract.sources.fetching import Fetcher

WEB = ("http", "https")
STORES = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "r2")
MAX_BYTES = LARGEST << 20  # of a file


class Paths(Source):
    """Reads ``folder/image``, or ``image`` where that is a URL.

    ``remote`` says whether any picture is elsewhere, so that more threads than a disk needs are
    useful. A remote picture is known by its URL: it is not fetched again to see whether it has
    changed.
    """

    def __init__(self, folder: Place, web: Web, remote: bool = True) -> None:
        self.folder, self.web, self.remote = folder, web, remote
        self.readers = web.connections if remote else READERS
        self.has_hosts, self.per_host = remote, web.per_host
        self.anywhere = not remote
        self._lock = threading.Lock()
        self._made: Fetcher | None = None

    def share(self, count: int) -> Paths:
        """For one of ``count`` processes, which together keep the limits of one."""
        return Paths(self.folder, self.web.share(count), self.remote)

    def __reduce__(self) -> tuple[type[Paths], tuple[Place, Web, bool]]:
        return Paths, (self.folder, self.web, self.remote)

    def __call__(self, image: str, /) -> bytes:
        """The encoded picture."""
        if is_data(image):
            return read_data(image, self.web.max_bytes)
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
        url = None if is_data(image) else self._url(image)
        return None if url is None else url.encode(errors="replace")

    def host(self, image: str) -> str | None:
        """The web host that a picture is fetched from; None for any other place."""
        url = None if is_data(image) else self._url(image)
        if url is None or url.partition("://")[0].lower() not in WEB:
            return None
        return self._fetcher().host(url)

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
            raise ImageError(Reason.NO_PLACE, f"{scheme}://")
        try:
            return read_object(RemotePath(url))
        except FileNotFoundError:
            raise_ambiguous(url)
            raise ImageError(Reason.NOT_FOUND) from None
        except DataError as error:
            absent = isinstance(error.__cause__, ImportError)
            raise ImageError(Reason.NO_DRIVER if absent else Reason.UNREACHABLE, error) from error

    def _fetcher(self) -> Fetcher:
        """Made for the first web address, since few tables have any."""
        from mmx.extract.sources.fetching import Fetcher

        with self._lock:
            self._made = self._made or Fetcher(self.web)
        return self._made


def raise_ambiguous(image: str) -> None:
    """``12.{jpg,png}`` is written where several files have the id of an item."""
    several = re.fullmatch(r".*\.\{(.+)\}", image)
    if several:
        endings = several.group(1).split(",")
        raise ImageError(Reason.SEVERAL, ", ".join(f".{e}" for e in endings)) from None


def read_object(place: RemotePath) -> bytes:
    """An object of at most MAX_BYTES. Raises ImageError, and what ``RemotePath`` does."""
    try:
        data = place.read_bytes(0, MAX_BYTES + 1)
    except DataError:
        if place.size():
            raise
        return b""  # an empty object, of which stores refuse a range
    if len(data) > MAX_BYTES:
        raise ImageError(Reason.TOO_LARGE, place)
    return data


def read_bytes(directory: Path, image: str) -> bytes:
    """The encoded picture. Raises ImageError with the reason why it cannot be read."""
    try:
        data = read_regular(directory / image, MAX_BYTES)
    except FileNotFoundError:
        raise ImageError(Reason.NOT_FOUND) from None
    except IsADirectoryError:
        raise ImageError(Reason.DIRECTORY) from None
    except PermissionError:
        raise ImageError(Reason.DENIED) from None
    except NotRegularError:
        raise ImageError(Reason.NOT_REGULAR) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        said = getattr(error, "strerror", None) or str(error)
        raise ImageError(Reason.UNREADABLE, said.lower()) from error
    if isinstance(data, int):
        raise ImageError(Reason.TOO_LARGE, f"{data} bytes")
    return data
