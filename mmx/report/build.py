"""``mmx report``: a page of finished runs, or of stores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from mmx.bounds import SEED, check_options, whole
from mmx.cache.store import Store, open_store
from mmx.data.dataset import Items, load_items
from mmx.errors import MmxError, OptionError, RunError
from mmx.files import Place, as_place, is_url
from mmx.recommend.run import Run, open_run
from mmx.report import runs as parts
from mmx.report.facts import (
    METRIC,
    RunFacts,
    facts_of,
    histories,
    people_of,
    sampled_lists,
)
from mmx.report.items import Cards
from mmx.report.markup import absent, number, table
from mmx.report.mistakes import Mistake, mistakes_of
from mmx.report.page import Section, page
from mmx.report.people import SHOWN, mistakes_html, people_html
from mmx.report.space import agreement_html, map_html
from mmx.report.stores import health_html

Log = Callable[[str], None]


@dataclass(frozen=True)
class ReportOptions:
    """What a report shows."""

    data: Place | str | None = None  # dataset; None: the one that the first run names
    stores: Sequence[Place | str] = ()  # none: those that the first run was trained with
    column: str | None = None  # colours the map; None: one of few values
    modality: str | None = None  # of the map; None: image, else the first
    user: Sequence[str] = ()  # example users; none: ``users`` drawn at random
    users: int = 4
    mistakes: int = 6
    seed: int = 0  # of what is drawn at random

    def __post_init__(self) -> None:
        check_options(self, users=whole(0), mistakes=whole(0), seed=SEED)


@dataclass
class _Found:
    """What is read of the runs, one after the other."""

    facts: list[RunFacts] = field(default_factory=list)
    people: dict[str, tuple[list[str], int]] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    items: pa.Table | None = None
    config: dict[str, Any] = field(default_factory=dict)
    size: tuple[int, int, int] = (0, 0, 0)  # users, items, interactions


def report(
    paths: Sequence[Place | str],
    options: ReportOptions | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    log: Log = lambda line: None,
) -> str:
    """The HTML of a report on runs, or on stores.

    Raises OptionError where both are given, or neither; RunError and StoreError where one cannot
    be opened; UnknownIdError for an example user that the first run does not have.
    """
    options = options or ReportOptions()
    if not paths:
        raise OptionError("no run or store is given; name runs of `mmx train`, or stores")
    kinds = [_is_run(path) for path in paths]
    if any(kinds) and not all(kinds):
        other = paths[kinds.index(False)]
        open_store(other)  # raises where it is not a store either
        raise OptionError(f"{other} is not a run as the others are; give it by --store {other}")
    if any(kinds):
        return _of_runs([Path(str(path)) for path in paths], options, progress, log)
    made = _of_stores(paths, options)
    progress(len(paths), len(paths))
    return made


def _is_run(path: Place | str) -> bool:
    place = as_place(path)
    if isinstance(place, Path) and not place.exists():
        raise RunError(f"no run or store at {path}; `mmx train` makes a run, `mmx extract` a store")
    return isinstance(place, Path) and (place / "config.json").is_file()


def _of_runs(
    paths: Sequence[Path], options: ReportOptions, progress: Callable[[int, int], None], log: Log
) -> str:
    compared, why = parts.comparison(paths)
    found = _Found()
    for name, path in zip(_names(paths), paths, strict=True):
        _gather(found, open_run(path), name, options)
        progress(len(found.facts), len(paths))
    dataset = _dataset(options.data, found.config, log)
    stores = _stores(options.stores, found.facts[0], log)
    items = Cards(found.items, dataset)
    sections = [
        parts.metrics_section(found.facts, compared, why),
        parts.curves_section(found.facts),
        parts.users_section(found.facts),
        parts.popularity_section(found.facts),
        parts.cold_section(found.facts),
        _people(found, items, stores),
        _mistakes(found, items, stores),
        *_space(stores, items, options, "--store STORE"),
        _made(found.facts),
    ]
    best = max(found.facts, key=lambda one: one.metrics["test"].get(METRIC, float("-inf")))
    users, catalogue, interactions = found.size
    tiles = [
        (number(best.metrics["test"].get(METRIC)), f"highest test {METRIC}, of {best.name}"),
        (number(users), "users"), (number(catalogue), "items"),
        (number(interactions), "interactions"),
    ]  # fmt: skip
    title = " and ".join(one.name for one in found.facts[:2])
    title = title if len(paths) <= 2 else f"{title} and {len(paths) - 2} more"
    lead = "What these recommenders learned, whom they serve well, and where they fail."
    return page(title, lead, tiles, sections)


def _names(paths: Sequence[Path]) -> list[str]:
    """Of each run the name of its folder, with the folder around it where two are alike."""
    names = [path.resolve().name for path in paths]
    return [
        name if names.count(name) == 1 else f"{path.resolve().parent.name}/{name}"
        for name, path in zip(names, paths, strict=True)
    ]


def _gather(found: _Found, run: Run, name: str, options: ReportOptions) -> None:
    """Add what is shown of a run; of the first one also whom the examples are of."""
    lists = sampled_lists(run, options.seed)
    if not found.facts:
        people = list(options.user) or people_of(run, lists, options.users, options.seed)
        run.data.users.numbers(people)  # raises for one that is not there
        found.mistakes = mistakes_of(lists, options.mistakes)
        named = [*people, *(one.user for one in found.mistakes)]
        found.people = histories(run, list(dict.fromkeys(named)), SHOWN)
        found.items, found.config = run.items, run.config
        found.size = (len(run.data.users), len(run.data.items),
                      sum(len(part.indices) for part in run.data.parts))  # fmt: skip
        found.facts.append(facts_of(run, name, lists, people, SHOWN))
        return
    people = list(found.facts[0].lists)
    found.facts.append(facts_of(run, name, lists, people, SHOWN))


def _dataset(given: Place | str | None, config: dict[str, Any], log: Log) -> Items | None:
    """The dataset for the pictures: the one given, else the run's where it is still there."""
    if given is not None:
        return load_items(given)
    place = config.get("data")
    if isinstance(place, str) and place and not is_url(place):
        with suppress(MmxError):
            return load_items(place, config.get("images") or None)
    log("the dataset of the run is not there: no pictures; give --data DIR")
    return None


def _stores(given: Sequence[Place | str], run: RunFacts, log: Log) -> list[Store]:
    """The stores given, else those that the run was trained with, where they are still there."""
    if given:
        return [open_store(path) for path in given]
    found = []
    if run.config.get("end_to_end"):
        return [open_store(run.path / "features.parquet")]
    records = run.config.get("features") or []
    for path in dict.fromkeys(str(record.get("store", "")) for record in records):
        if path and not is_url(path):
            try:
                found.append(open_store(path))
            except MmxError as error:
                log(f"{error}; or give --store STORE")
    return found


def _people(found: _Found, items: Cards, stores: Sequence[Store]) -> Section:
    shown = {user: found.people[user] for user in found.facts[0].lists}
    body = people_html(found.facts, shown, items, stores[0] if stores else None)
    return Section(
        "people", "Example users",
        "Drawn at random unless named. A list is the one that evaluation ranks: what the user "
        "trained on is left out, and ✓ marks what they took later.",
        body,
    )  # fmt: skip


def _mistakes(found: _Found, items: Cards, stores: Sequence[Store]) -> Section:
    first = found.facts[0].name
    body = mistakes_html(found.mistakes, found.people, items, stores[0] if stores else None, first)
    return Section(
        "mistakes", "The most confident mistakes",
        f"The highest scores of {first} for items that their user took nowhere in the log, each of "
        "another user and item. Not taken need not mean not liked.",
        body,
    )  # fmt: skip


def _space(
    stores: Sequence[Store], items: Cards, options: ReportOptions, option: str
) -> list[Section]:
    """The map, the agreement of images and texts, and the health of the stores."""
    if not stores:
        items.column(options.column)  # complain of one that is not there
        body = absent("The map, the alignment of images and texts, and what failed to encode need "
                      "a store:", option)  # fmt: skip
        return [Section("map", "Map of the items", "", body)]
    body = "".join(
        map_html(store, _modality(store, options.modality), items, options.column, options.seed)
        for store in stores
    )
    if not items.pictures:
        body += absent("Pictures need the dataset:", "--data DIR")
    return [
        Section("map", "Map of the items", "", body),
        Section("alignment", "Images and texts", "Do the image and the text of an item find each "
                "other?", "".join(agreement_html(store, options.seed) for store in stores)),
        Section("health", "Health of the store", "", "".join(map(health_html, stores))),
    ]  # fmt: skip


def _modality(store: Store, wanted: str | None) -> str:
    sizes = store.card.dimensions
    return wanted or ("image" if "image" in sizes else next(iter(sizes)))


def _made(facts: Sequence[RunFacts]) -> Section:
    """How each run was made."""
    rows = []
    for one in facts:
        config = one.config
        settings = " ".join(f"{k}={v}" for k, v in (config.get("settings") or {}).items())
        features = ", ".join(
            f"{record.get('encoder')}:{record.get('modality')}"
            for record in config.get("features") or []
        )
        seconds = (config.get("cost") or {}).get("seconds")
        training = config.get("training") or {}
        rows.append([one.name, config.get("model"), features or "none", settings or "—",
                     training.get("seed"), (config.get("split") or {}).get("rule"),
                     "—" if seconds is None else f"{seconds:.1f}"])  # fmt: skip
    heads = ["run", "model", "features", "settings", "seed", "split", "seconds"]
    return Section("made", "How the runs were made", "", table(heads, rows))


def _of_stores(paths: Sequence[Place | str], options: ReportOptions) -> str:
    if options.user:
        raise OptionError(f"--user {options.user[0]}: a store has no users; name a run")
    if options.stores:
        raise OptionError("--store goes with runs; name all stores as arguments")
    stores = [open_store(path) for path in paths]
    dataset = None if options.data is None else load_items(options.data)
    sections = _space(stores, Cards(None, dataset), options, "")
    first = stores[0]
    tiles = [(number(sum(store.rows for store in stores)), "rows"),
             (first.card.name, "encoder"),
             (f"{sum(store.size for store in stores) / 1e6:,.1f} MB", "on disk")]  # fmt: skip
    title = " and ".join(store.path.name for store in stores)
    sections = [*sections[2:], *sections[:2]]  # its health first
    return page(title, "What is in this store, and what is not.", tiles, sections)
