"""Stores, runs and a dataset to ask."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmx.sql import Sql, open_sql
from tests.cache.small_store import store
from tests.catalogue import write_interactions, write_items


@dataclass(frozen=True)
class Places:
    """A folder with cache/, runs/ and shop/ in it."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "shop"

    def store(self, name: str) -> Path:
        (self.root / "cache").mkdir(exist_ok=True)
        return store(self.root / "cache" / f"{name}.parquet")

    def run(self, name: str) -> Path:
        folder = write_items(self.root / "runs" / name, [{"item_id": "a"}])
        (folder / "config.json").write_text("{}")
        return folder

    def open(self, *, level: str = "local", unsafe: bool = False, **more: list) -> Sql:
        places = self.root / "cache", self.root / "runs"
        data = more.pop("datasets", [self.data])
        return open_sql(*places, data, level=level, unsafe=unsafe, **more)


def make_places(root: Path) -> Places:
    places = Places(root)
    write_items(places.data, [{"item_id": "a", "text": "mug"}, {"item_id": "b"}])
    write_interactions(places.data, [("u", "a")])
    places.store("fake")
    places.store("clip-mini")
    places.run("vbpr-fake")
    return places
