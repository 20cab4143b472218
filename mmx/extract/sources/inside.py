"""Pictures of a dataset to be shown to others: only what is inside of it.

A path is followed through its links first: it must end in the folder of the pictures. An address
is never fetched.
"""

from __future__ import annotations

import re
from pathlib import Path

from mmx.data.dataset import Items
from mmx.extract.reasons import ImageError, Reason
from mmx.extract.sources import source_for
from mmx.extract.sources.data_uris import is_data, read_data
from mmx.extract.sources.members import MEMBER, Members
from mmx.extract.sources.paths import MAX_BYTES, read_bytes
from mmx.extract.sources.rows import RowImages
from mmx.files import is_url


class Inside:
    """Reads what the column ``image`` of an items table says; several threads may read."""

    def __init__(self, items: Items) -> None:
        self.items = items
        self._folder = items.images.resolve() if isinstance(items.images, Path) else None
        self._source = source_for(items) if items.form != "paths" else None

    def __call__(self, image: str | None) -> bytes:
        """The encoded picture. Raises ImageError where there is none, or not inside."""
        if image is None or self._folder is None:
            raise ImageError(Reason.NOT_FOUND)
        if isinstance(self._source, RowImages):
            return self._row(self._source, image)
        if isinstance(self._source, Members):
            found = re.fullmatch(MEMBER, image)
            self._resolved(found[1] if found else image)
            return self._source(image)
        if is_data(image):
            return read_data(image, MAX_BYTES)
        if is_url(image):
            raise ImageError(Reason.NOT_FOUND)
        return self._file(image)

    def _row(self, source: RowImages, image: str) -> bytes:
        data, path = source.picture(image)
        return self._file(path) if data is None and path else data or b""

    def _file(self, name: str) -> bytes:
        path = self._resolved(name)
        return read_bytes(path.parent, path.name)

    def _resolved(self, name: str) -> Path:
        """Where a name leads to. Raises ImageError outside of the folder."""
        assert self._folder is not None
        try:
            path = (self._folder / name).resolve()
        except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL, a circle of links
            raise ImageError(Reason.NOT_FOUND, error) from error
        if not path.is_relative_to(self._folder):
            raise ImageError(Reason.NOT_FOUND, "outside of the dataset")
        return path
