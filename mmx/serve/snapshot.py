"""Everything that a request reads, loaded once; a newer one replaces it whole."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mmx.data.dataset import Items, load_items
from mmx.errors import MmxError, OptionError, StoreError, first_line, suggestion
from mmx.extract.sources.data_uris import is_data
from mmx.extract.sources.inside import Inside
from mmx.files import Place, is_url
from mmx.search.plane import plane
from mmx.search.searcher import Searcher
from mmx.serve.filters import Filter
from mmx.serve.items import ServedItems
from mmx.serve.options import ServeOptions
from mmx.serve.runs import ServedRun, load_run
from mmx.serve.stores import ServedStore, load_store
from mmx.serve.thumbs import Thumbnails

Log = Callable[[str], None]
SHOWN = 80  # characters of a name in a message
MAPPED = 5000  # items of a map
MASKS = 64  # filters whose result is kept
NO_STORE = "no store is served: start `mmx serve` with --store STORE"


class NoStoreError(MmxError):
    """A search without a store."""


@dataclass(frozen=True)
class Snapshot:
    """Runs, stores and the catalogue as they were at one moment."""

    runs: dict[str, ServedRun]  # the first answers where a request names none
    stores: list[ServedStore]
    items: ServedItems
    pictures: Inside | None
    names: dict[str, str | None]  # item → what the column image says
    listed: bool  # whether the catalogue was named: then what it lacks is not recommended
    thumbnails: Thumbnails = field(default_factory=Thumbnails)
    _once: dict[Any, Any] = field(default_factory=dict)
    _lock: Any = field(default_factory=threading.RLock)
    _masks: OrderedDict[Any, Any] = field(default_factory=OrderedDict)

    @property
    def first(self) -> ServedRun:
        """The run that answers where a request names none."""
        return next(iter(self.runs.values()))

    def run(self, name: str | None) -> ServedRun:
        """A run by its name. Raises OptionError."""
        if name is not None and name not in self.runs:
            raise OptionError(f"run {name[:SHOWN]!r} is not served{suggestion(name, self.runs)}")
        return self.first if name is None else self.runs[name]

    def searcher(self, modality: str | None) -> Searcher:
        """The vectors of a modality, of the first store that has it. Raises NoStoreError."""
        known = {
            name: each for store in self.stores[::-1] for name, each in store.searchers.items()
        }
        if not known:
            raise NoStoreError(NO_STORE)
        chosen = modality or ("image" if "image" in known else next(iter(self.stores[0].searchers)))
        if chosen not in known:
            raise OptionError(f"modality {chosen[:SHOWN]!r} is not in the store"
                              f"{suggestion(chosen, known)}")  # fmt: skip
        return known[chosen]

    @property
    def modalities(self) -> list[str]:
        """All that the stores have, each once."""
        return list(dict.fromkeys(name for store in self.stores for name in store.searchers))

    def vectors(self, modality: str | None, ids: list[str]) -> np.ndarray:
        """(n, d) vectors of items; zero where there is none. Raises NoStoreError."""
        searcher = self.searcher(modality)
        found = np.zeros((len(ids), searcher.vectors.dimension), np.float32)
        rows = np.array([self.row(searcher, one) for one in ids], dtype=np.float64)  # NaN: none
        there = np.isfinite(rows)
        found[there] = searcher.vectors.matrix[rows[there].astype(np.int64)]
        return found

    def allowed(self, run: ServedRun, filters: list[Filter]) -> np.ndarray | None:
        """(items of the run,) bool: which may be shown; None: all. Raises OptionError."""
        if not filters and not self.listed:
            return None
        return self._mask(("run", run.name), filters, lambda: run.ids)

    def within(self, searcher: Searcher, filters: list[Filter]) -> np.ndarray | None:
        """Rows of a searcher that may be found, ascending; None: all. Raises OptionError."""
        if not filters and not self.listed:
            return None
        key = ("store", id(searcher))
        return np.flatnonzero(self._mask(key, filters, lambda: self.ids_of(searcher)))

    def _mask(self, of: Any, filters: list[Filter], ids: Callable[[], list[str]]) -> np.ndarray:
        """(n,) bool over ids: which are of items in the catalogue that meet the filters."""
        key = (of, json.dumps([one.model_dump() for one in filters], sort_keys=True))
        found = self._masks.get(key)
        if found is None:
            places = self.once(of, lambda: self.items.rows(ids()))
            met = np.append(self.items.matching(filters), False)  # of what it does not have
            found = self._masks[key] = met[places]
            while len(self._masks) > MASKS:
                with suppress(KeyError):
                    self._masks.popitem(last=False)
        return np.asarray(found)

    def ids_of(self, searcher: Searcher) -> list[str]:
        """Ids of the rows of a searcher."""
        ids: list[str] = self.once(("ids", id(searcher)), searcher.ids.to_pylist)
        return ids

    def row(self, searcher: Searcher, item: str) -> int | None:
        """The row of an item in a searcher, None where it has none."""
        ids = self.ids_of(searcher)
        rows: dict[str, int] = self.once(
            ("rows", id(searcher)), lambda: {one: row for row, one in enumerate(ids)}
        )
        return rows.get(item)

    def map(self, modality: str | None) -> tuple[list[str], np.ndarray, int]:
        """Items and their places (n, 2) in the plane, and how many have a vector.

        A sample where there are many; in an order drawn at random, so that the first few are one.
        """
        vectors = self.searcher(modality).vectors
        rows = np.random.default_rng(0).permutation(len(vectors))[:MAPPED]
        points = plane(vectors.matrix[rows] * vectors.scale[rows, None])
        return vectors.ids.take(pa.array(rows)).to_pylist(), points, len(vectors)

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What ``make`` makes, the first time."""
        if key not in self._once:
            with self._lock:
                if key not in self._once:
                    self._once[key] = make()
        return self._once[key]


def load(options: ServeOptions, log: Log, before: Snapshot | None = None) -> Snapshot:
    """Read all that is served. Raises an MmxError for what is not there or is damaged."""
    runs = {name: load_run(path, name) for name, path in named(options.runs).items()}
    first = next(iter(runs.values()))
    config = first.run.config
    kept = {store.name: store for store in before.stores} if before else {}
    if before:
        _check_still_there(before, options, config)
    stores = [
        load_store(place, options.encoder, kept.get(Path(str(place)).name), log)
        for place in store_places(options, config)
    ]
    dataset = _dataset(options, config, log)
    listed = options.data is not None and dataset is not None
    table = dataset.table if listed and dataset else first.run.items
    shown, names = _pictures(dataset, table["item_id"].to_pylist())
    return Snapshot(
        runs, stores, ServedItems(table, shown), None if dataset is None else Inside(dataset),
        names, listed,
    )  # fmt: skip


def named(paths: tuple[Path, ...]) -> dict[str, Path]:
    """Runs by the names of their folders, numbered where two are the same."""
    found: dict[str, Path] = {}
    for path in paths:
        name = path.resolve().name
        number = 1
        while (name if number == 1 else f"{name}-{number}") in found:
            number += 1
        found[name if number == 1 else f"{name}-{number}"] = path
    return found


def store_places(options: ServeOptions, config: Mapping[str, Any]) -> list[Place | str]:
    """The stores to serve: those named, else those of the run that are on this machine."""
    if options.stores:
        return list(options.stores)
    return [place for place in _recorded(config) if _is_here(place)]


def _recorded(config: Mapping[str, Any]) -> list[str]:
    """The stores that a run was trained with."""
    return list(dict.fromkeys(str(one.get("store")) for one in config.get("features") or []))


def _check_still_there(before: Snapshot, options: ServeOptions, config: Mapping[str, Any]) -> None:
    """Raises StoreError for a store that was served, that the run still names, and that is gone."""
    served = {str(store.store.path) for store in before.stores}
    for place in [] if options.stores else _recorded(config):
        if str(Path(place)) in served and not _is_here(place):
            raise StoreError(f"{place} is gone; put it back, or start again with --store STORE")


def data_place(options: ServeOptions, config: Mapping[str, Any]) -> Place | str | None:
    """The dataset with the pictures: the one named, else that of the run if it is here."""
    place = config.get("data")
    return options.data or (place if isinstance(place, str) and _is_here(place) else None)


def _is_here(place: str) -> bool:
    try:
        return not is_url(place) and Path(place).exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _dataset(options: ServeOptions, config: Mapping[str, Any], log: Log) -> Items | None:
    """The dataset; one that was not named may be of any kind now."""
    place = data_place(options, config)
    if place is None:
        return None
    if options.data is not None:
        return load_items(place)
    images = config.get("images")
    try:
        return load_items(place, images if isinstance(images, str) and _is_here(images) else None)
    except MmxError as error:
        log(f"no pictures are shown: {first_line(error)}; name the dataset with --data")
        return None


def _pictures(dataset: Items | None, ids: list[str]) -> tuple[np.ndarray, dict[str, str | None]]:
    """(n,) bool: which items may have a picture to show; and where the pictures are."""
    if dataset is None:
        return np.zeros(len(ids), dtype=bool), {}
    images: pa.ChunkedArray = dataset.table["image"]
    names = dict(zip(dataset.ids.to_pylist(), images.to_pylist(), strict=True))
    return np.array([_shown(names.get(one)) for one in ids], dtype=bool), names


def _shown(name: str | None) -> bool:
    return bool(name) and (is_data(str(name)) or not is_url(str(name)))
