"""Where encoded pictures come from, by what the items table says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow.compute as pc

from mmx.data.dataset import Items
from mmx.extract.sources.data_uris import is_data
from mmx.extract.sources.members import Members
from mmx.extract.sources.paths import Paths
from mmx.extract.sources.rows import RowImages
from mmx.extract.sources.source import Source
from mmx.extract.sources.web import Web
from mmx.files import Place, is_url

ELSEWHERE = r"^[^,]*://"  # a data URI has a comma before anything that looks like an address


def source_for(items: Items, web: Web | None = None) -> Source:
    """What reads the pictures of ``items``."""
    if items.form == "rows":
        return RowImages(items.path)
    if items.form == "members":
        return Members(items.images)
    elsewhere = pc.any(pc.match_substring_regex(items.table["image"], ELSEWHERE)).as_py()
    remote = not isinstance(items.images, Path) or bool(elsewhere)
    return Paths(items.images, web or Web(), remote)


def versions(items: Items) -> Iterator[str]:
    """Size and time of change of each local file with pictures; a remote one is its URL."""
    for place in _holders(items):
        if isinstance(place, Path):
            with suppress(OSError, ValueError):  # no such file, or a name that none can have
                facts = place.stat()
                yield f"{facts.st_size}:{facts.st_mtime_ns}"


def _holders(items: Items) -> Iterable[Place]:
    names = items.table["image"].to_pylist()
    if items.form == "rows":
        return [items.path]
    if items.form == "members":
        shards = {name.rpartition("@")[0] for name in names if name}
        return [items.images / shard for shard in sorted(shards)]
    return (items.images / name for name in names if name and _is_file(name))


def _is_file(name: str) -> bool:
    return not is_data(name) and not is_url(name)
