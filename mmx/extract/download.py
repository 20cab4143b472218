"""Fetch one large file: resumed where it stopped, checked, and never left half written.

The file grows as ``NAME.part`` beside its place and is renamed when it is complete. The
server's version mark (ETag) is kept with it, so that a download is only continued with bytes of
the same version. The SHA-256 is compared with the one given; where none is known, the first
download writes it to ``NAME.sha256`` (as ``sha256sum`` does) and later openings compare.
"""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mmx.atomic import file_sha256, write_text
from mmx.errors import EncoderError

CHUNK = 1 << 20  # bytes read at once
PATIENCE = 20.0  # seconds without a byte before the connection counts as lost

ByteProgress = Callable[[int, int | None], None]  # (bytes there, bytes in all if known)


def fetch(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    progress: ByteProgress | None = None,
    fix: str = "--weights PATH",
) -> Path:
    """The file at ``target``, downloaded from ``url`` unless it is there already.

    Raises EncoderError in one line when it can neither be found nor fetched (``fix`` names the
    option that helps), stopped half way (the next call continues), or its SHA-256 is not
    ``sha256``, or not that of the first download.
    """
    if not target.exists():
        download = _Download(url, target, fix)
        download.run(progress or (lambda done, total: None))
        _check(download.path, sha256, target.name)
        os.replace(download.path, target)
        download.mark.unlink(missing_ok=True)
        write_text(sidecar(target), f"{file_sha256(target)}  {target.name}\n")
    elif sha256 or sidecar(target).exists():
        _check(target, sha256 or sidecar(target).read_text().split(" ")[0], target.name)
    return target


def sidecar(target: Path) -> Path:
    """Where the SHA-256 of a downloaded file is recorded."""
    return target.with_name(f"{target.name}.sha256")


def _check(path: Path, sha256: str | None, name: str) -> None:
    found = file_sha256(path) if sha256 else None
    if found != sha256:
        raise EncoderError(
            f"{path} has SHA-256 {found}, {name} should have {sha256}; delete it and try again"
        )


@dataclass(frozen=True)
class _Download:
    """A download under way."""

    url: str
    target: Path
    fix: str

    @property
    def path(self) -> Path:
        """The bytes that have arrived."""
        return self.target.with_name(f"{self.target.name}.part")

    @property
    def mark(self) -> Path:
        """The version of the file they belong to."""
        return self.target.with_name(f"{self.target.name}.part.etag")

    def run(self, progress: ByteProgress) -> None:
        """Fetch what is missing."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with urllib.request.urlopen(self._request(), timeout=PATIENCE) as answer:
                total = self._receive(answer, progress)
        except urllib.error.HTTPError as error:
            if error.code == 416:  # nothing is left to send, or what is here is of no use
                self.path.unlink(missing_ok=True)
            raise EncoderError(self._failed(f"{self._host} answers {error.code}")) from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise EncoderError(self._failed(f"{self._host}: {reason}")) from error
        if total is not None and self._there() != total:
            raise EncoderError(
                f"{self.target.name} stopped at {self._there()} of {total} bytes; the same "
                "command continues there"
            )

    @property
    def _host(self) -> str:
        return urlsplit(self.url).hostname or self.url

    def _there(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def _request(self) -> urllib.request.Request:
        headers = {"User-Agent": "mmx", "Accept-Encoding": "identity"}
        if self._there() and self.mark.exists():
            headers |= {"Range": f"bytes={self._there()}-", "If-Range": self.mark.read_text()}
        return urllib.request.Request(self.url, headers=headers)

    def _receive(self, answer: http.client.HTTPResponse, progress: ByteProgress) -> int | None:
        """Append, or start again where the server sends the whole file; the full size."""
        resumed = answer.status == 206
        start = self._there() if resumed else 0
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length else None
        etag = answer.headers.get("ETag", "")
        if etag and not etag.startswith("W/"):  # a weak mark does not guarantee the same bytes
            self.mark.write_text(etag)
        else:
            self.mark.unlink(missing_ok=True)
        with self.path.open("ab" if resumed else "wb") as file:
            progress(start, total)
            try:
                while chunk := answer.read(CHUNK):
                    file.write(chunk)
                    progress(file.tell(), total)
            except http.client.IncompleteRead as error:
                file.write(error.partial)
        return total

    def _failed(self, reason: str) -> str:
        return (
            f"{self.target.name} is not on this machine and cannot be fetched ({reason}); put "
            f"{self.url} at {self.target}, or give {self.fix}"
        )
