"""Where encoded pictures come from, by what the items table says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow.compute as pc

from mmx.data.dataset import Items
from mmx.extract.inputs import Source
from mmx.extract.sources.members import Members
from mmx.extract.sources.paths import Paths
from mmx.extract.sources.rows import Rows
from mmx.extract.sources.web import Web
from mmx.files import Place, is_url


def source_for(items: Items, web: Web | None = None) -> Source:
    """What reads the pictures of ``items``; safe to call from many threads, and picklable.

    A source may say more than the protocol asks: ``readers``, the threads that it can keep busy,
    and ``identity(image)``, what stands for a picture that is too dear to be read for its hash.
    """
    if items.form == "rows":
        return Rows(items.path)
    if items.form == "members":
        return Members(items.images)
    elsewhere = pc.any(pc.match_substring(items.table["image"], "://")).as_py()
    remote = not isinstance(items.images, Path) or bool(elsewhere)
    return Paths(items.images, web or Web(), remote)


def versions(items: Items) -> Iterator[str]:
    """Size and time of change of each local file with pictures; a remote one is its URL."""
    for place in _holders(items):
        if isinstance(place, Path) and place.exists():
            facts = place.stat()
            yield f"{facts.st_size}:{facts.st_mtime_ns}"


def _holders(items: Items) -> Iterable[Place]:
    names = items.table["image"].to_pylist()
    if items.form == "rows":
        return [items.path]
    if items.form == "members":
        shards = {name.rpartition("@")[0] for name in names if name}
        return [items.images / shard for shard in sorted(shards)]
    return (items.images / name for name in names if name and not is_url(name))
