"""A remote store: built on this machine, then uploaded as one file.

    clip.parquet-5f0c…/   in the user's cache, or below --work
      clip.parquet        what was there before, or the new store until it is uploaded
      clip.parquet.parts/ finished parts, see mmx.cache.parts
      seen.json           the version that was there

The folder is deleted after the upload; a killed run leaves it, and the next one continues from it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mmx.atomic import remove, replacing, write_text
from mmx.cache.kind import STORE, is_store_like
from mmx.cache.store import open_store
from mmx.errors import DataError, MmxError, StoreError, TargetError, cannot_write
from mmx.files import Place, RemotePath, user_cache
from mmx.locks import locked


@contextmanager
def built_here(
    out: Place, work: Path | None = None, *, from_scratch: bool = False
) -> Iterator[Path]:
    """A local path to build ``out`` at, which holds what ``out`` held unless ``from_scratch``.

    For a local ``out`` that is ``out``. A remote one is uploaded at the end, unless an error ends
    the block: then ``work`` (by default in the user's cache) keeps what was done. Raises
    StoreError when nothing can be uploaded there, TargetError when another process of this
    machine builds it or, with ``from_scratch``, something other than a store is there.
    """
    if isinstance(out, Path):
        yield out
        return
    _must_take_files(out)
    folder = (work or user_cache() / "work") / f"{out.name}-{_digest(out)}"
    with _locked(folder, out):
        if from_scratch:
            _must_be_ours(out)
        site = _Site(out, folder / out.name, folder / "seen.json")
        before = None if from_scratch else site.fetch()
        with _named(site.here, out):
            yield site.here
        if site.stamp() != before:
            site.upload()
        remove(folder)


@dataclass(frozen=True)
class _Site:
    """Where one remote store is built."""

    out: RemotePath
    here: Path
    seen: Path

    def fetch(self) -> tuple[int, int] | None:
        """Download the remote store; its stamp, or None when the local one must be uploaded."""
        version = self.out.version()
        if self.here.exists() and self._last_seen() == version:
            return None  # the local one is of a run that was killed
        remove(self.here)
        write_text(self.seen, version)
        if not version:
            return None
        store = open_store(self.out)
        if store.files == (self.out,):
            with replacing(self.here) as temporary:
                self.out.download(temporary)
        else:
            with replacing(self.here, folder=True) as temporary:
                for file in store.files:
                    if isinstance(file, RemotePath):
                        file.download(temporary / file.name)
        return self.stamp()

    def stamp(self) -> tuple[int, int]:
        """What changes when the store here is replaced."""
        facts = self.here.stat()
        return facts.st_ino, facts.st_mtime_ns

    def upload(self) -> None:
        """Upload the finished store; others see the old one until it is there."""
        old = self.out.glob("*.parquet") if self.out.is_dir() else []
        try:
            self.out.upload(self.here)
            if self.out.size() != self.here.stat().st_size:
                raise DataError(f"{self.out} does not have the size of the uploaded file")
            for file in old:
                file.delete()
        except (DataError, OSError) as error:
            raise StoreError(
                f"{error}; the store is finished at {self.here}, run it again to upload it"
            ) from error

    def _last_seen(self) -> str | None:
        with suppress(OSError):
            return self.seen.read_text(encoding="utf-8")
        return None


def _must_be_ours(out: RemotePath) -> None:
    if out.exists() and not is_store_like(out):
        raise TargetError(
            f"{out} is not {STORE.name}, and --overwrite replaces nothing else; set --out elsewhere"
        )


def _must_take_files(out: RemotePath) -> None:
    if out.scheme in ("http", "https"):
        raise StoreError(f"--out {out}: a web server takes no files; an object store does (s3://)")
    bucket = RemotePath("/".join(out.url.split("/")[:3]))
    if out.scheme != "memory" and not bucket.exists():
        raise StoreError(
            f"there is no {bucket} to write {out} to; create it, or set --out elsewhere"
        )


@contextmanager
def _named(here: Path, out: RemotePath) -> Iterator[None]:
    """Errors name the place as the user did."""
    try:
        yield
    except MmxError as error:
        said = re.sub(rf"{re.escape(str(here))}(?!\.parts)", str(out), str(error))
        raise type(error)(said) from error


def _digest(out: RemotePath) -> str:
    return hashlib.blake2b(out.url.encode(), digest_size=6).hexdigest()


@contextmanager
def _locked(folder: Path, out: RemotePath) -> Iterator[None]:
    """Be the only process of this machine that builds ``out``."""
    with locked(folder, out):
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise cannot_write(folder, error) from error
        yield
