"""What there is to query: stores, runs and datasets, each with a name of its own in SQL."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import duckdb

from mmx.cache.store import literal, open_store
from mmx.data.csvs.format import PLAIN, CsvFormat, is_csv, refuse_unused
from mmx.data.csvs.reader import view_of
from mmx.data.quoting import quoted, quoted_name
from mmx.data.shards import is_shards, shards_folder
from mmx.data.tables import SUFFIXES, find_table, has_table
from mmx.errors import DataError, MmxError
from mmx.files import Place, as_place

MAIN = "main"
INSIDE = r"""["'\w]"""  # next to what is in quotes, or part of a longer name
TAKEN = {MAIN, "memory", "system", "temp", "information_schema", "pg_catalog"}  # DuckDB's own


@dataclass(frozen=True)
class View:
    """A view: its name, what it selects, and the files it reads."""

    schema: str
    name: str
    sql: str
    places: tuple[Place, ...]
    found: bool = False  # in a folder; one that is unreadable is left out with a note
    modalities: tuple[str, ...] = ()  # of a store: its columns of vectors

    @property
    def written(self) -> str:
        """The name as one writes it in SQL."""
        own = identifier(self.name)
        return own if self.schema == MAIN else f"{identifier(self.schema)}.{own}"


@dataclass
class Found:
    """The views so far, and a line for each thing that is absent or has another name here."""

    views: list[View] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def free(self, name: str, schema: str | None, place: Place) -> str:
        """A name that is free in the schema; with None, one that is free for a schema."""
        there = [view.name for view in self.views if view.schema == schema]
        if schema is None:
            there = [*TAKEN, *(view.schema for view in self.views)]
        taken, name = {one.lower() for one in there}, name or "data"
        tried, number = name, 0
        while tried.lower() in taken:
            number += 1
            tried = f"{name}_{number}"
        if number:
            self.notes.append(f"{place} is called {identifier(tried)} here; {name} is taken")
        return tried


def views_of(
    cache: Path,
    runs: Path,
    datasets: Sequence[Place | str],
    stores: Sequence[Place | str],
    csv: CsvFormat = PLAIN,
) -> Found:
    """Views of all stores in ``cache``, all runs in ``runs``, and of what is named.

    ``csv`` says how CSV tables of the datasets are written. Raises StoreError and DataError when
    something named is not there or not readable; what is found in a folder and is not readable
    becomes a note.
    """
    found = Found()
    named = [(as_place(dataset), _dataset(dataset)) for dataset in datasets]
    refuse_unused(csv, [path for _, tables in named for path in tables.values()])
    for _, tables in named[:1]:
        _add_tables(found, MAIN, tables, csv)
    _add_stores(found, cache, [as_place(store) for store in stores])
    for run in _folders(runs):
        if (run / "config.json").exists():
            _add_tables(found, _schema(found, run), _tables(run), there=True)
    for place, tables in dict(named).items():
        _add_tables(found, _schema(found, place), tables, csv)
    return found


def _add_stores(found: Found, cache: Path, named: list[Place]) -> None:
    for path in dict.fromkeys([*named, *_stores(cache, named)]):
        try:
            store = open_store(path)
        except MmxError as error:
            if path in named:
                raise
            found.notes.append(str(error))
            continue
        files = tuple(map(_absolute, store.files))
        name = found.free(path.name.removesuffix(".parquet"), MAIN, path)
        sql = replace(store, files=files).sql()
        view = View(MAIN, name, sql, files, path not in named, store.card.modalities)
        found.views.append(view)


def _stores(cache: Path, named: list[Place]) -> Iterator[Path]:
    """The stores in the folder, without those that were named as well."""
    there = {_absolute(place) for place in named}
    for path in sorted(cache.glob("*.parquet")) if cache.is_dir() else []:
        if not path.name.startswith(".") and _absolute(path) not in there:
            yield path


def _folders(runs: Path) -> list[Path]:
    return sorted(path for path in runs.iterdir() if path.is_dir()) if runs.is_dir() else []


def _schema(found: Found, place: Place) -> str:
    absolute = place.resolve() if isinstance(place, Path) else place
    name = absolute.stem if absolute.suffix in SUFFIXES else absolute.name
    return found.free(name, None, place)


def _add_tables(
    found: Found,
    schema: str,
    tables: dict[str, Place],
    csv: CsvFormat = PLAIN,
    *,
    there: bool = False,
) -> None:
    for name, path in tables.items():
        sql, places = _reading(_absolute(path), csv)
        found.views.append(View(schema, found.free(name, schema, path), sql, places, there))


def _dataset(data: Place | str) -> dict[str, Place]:
    """The tables of what ``--data`` takes. Raises DataError when there is none."""
    place = shards_folder(str(data)) if is_shards(data) else as_place(data)
    if place.suffix in SUFFIXES and place.is_file():
        return _table_alone(place)
    if isinstance(place, Path) and not place.exists():
        raise DataError(f"no dataset at {place}: --data takes an existing dataset directory")
    tables = _tables(place)
    if not tables:
        raise DataError(f"{place} holds no tables (.parquet, .csv); --data takes a folder of them")
    return tables


def _table_alone(path: Place) -> dict[str, Place]:
    """A catalogue given by its own name, and the interactions next to it."""
    tables: dict[str, Place] = {"items": path}
    if has_table(path.parent, "interactions"):
        tables["interactions"] = find_table(path.parent, "interactions")
    return tables


def _tables(directory: Place) -> dict[str, Place]:
    """All tables of a folder by their names; of two of one name the first suffix counts."""
    tables: dict[str, Place] = {}
    for suffix in SUFFIXES:
        for name in sorted(path.name for path in directory.glob(f"*{suffix}")):
            if not name.startswith("."):
                tables.setdefault(name.removesuffix(suffix), directory / name)
    return dict(sorted(tables.items()))


def _reading(path: Place, csv: CsvFormat) -> tuple[str, tuple[Place, ...]]:
    """The query of all rows of a table, and the files that are read for it.

    A CSV file that cannot be read raises when it is queried; the other tables are not affected.
    """
    if not is_csv(path):
        return f"select * from read_parquet({quoted(str(literal(path)))})", (path,)
    try:
        view = view_of(path, csv)
    except DataError as error:
        return f"select error({quoted(str(error))}) as unreadable from range(1)", (path,)
    return view.sql, tuple(dict.fromkeys((path, view.path)))


def _absolute(path: Place) -> Place:
    """The same from any folder, since the program may change its own."""
    return path.absolute() if isinstance(path, Path) else path


def identifier(name: str) -> str:
    """The name, in double quotes where SQL needs them."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) and name.lower() not in _keywords():
        return name
    return quoted_name(name)


@cache
def _keywords() -> frozenset[str]:
    query = "select keyword_name from duckdb_keywords() where keyword_category != 'unreserved'"
    with duckdb.connect() as connection:
        return frozenset(row[0] for row in connection.execute(query).fetchall())


def unquoted(names: Sequence[str], query: str, message: str) -> list[str]:
    """Those of the names that the query has without the quotes they need; in quotes."""
    return [
        identifier(name)
        for name in dict.fromkeys(names)
        if identifier(name) != name
        and re.search(rf"(?<!{INSIDE}){re.escape(name)}(?!{INSIDE})", query, re.IGNORECASE)
        and (not name.isalnum() or f'at or near "{name}"' in message)  # a word is one to SQL too
    ]
