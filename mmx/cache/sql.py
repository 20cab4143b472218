"""SQL over everything at hand: stores, runs and datasets as DuckDB views by name.

    clip                    the store cache/clip.parquet; vectors are FLOAT[d] arrays
    "NAME".users, .items,   the tables of runs/NAME
      .history, .per_user, .interactions
    "DIR".items,            the tables of a dataset directory
      .interactions

Of the first dataset given, ``items`` and ``interactions`` also stand without a schema.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from mmx.cache.attach import attach
from mmx.cache.store import Store, is_store, open_store, quoted
from mmx.data.csvs.format import PLAIN, CsvFormat, is_csv, refuse_unused
from mmx.data.csvs.reader import view_of
from mmx.data.tables import SUFFIXES
from mmx.errors import DataError, QueryError
from mmx.files import Place, where


def connect(
    cache: Path,
    runs: Path,
    datasets: Sequence[Place | str] = (),
    stores: Sequence[Place | str] = (),
    csv: CsvFormat = PLAIN,
) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB with a view for each table found. Nothing is copied or loaded.

    ``csv`` says how CSV files of the datasets are written.
    """
    connection = duckdb.connect()
    found = sorted(cache.glob("*.parquet")) if cache.is_dir() else []
    for path in [*found, *map(where, stores)]:
        if is_store(path):
            _view_store(connection, open_store(path))
    for directory in sorted(runs.iterdir()) if runs.is_dir() else []:
        if (directory / "config.json").exists():
            _view_tables(connection, directory)
    shown: list[Place] = []
    for number, dataset in enumerate(datasets):
        for path, reading in _view_tables(connection, where(dataset), csv).items():
            shown.append(path)
            if number == 0:
                _view(connection, path.stem, reading)
    refuse_unused(csv, shown)
    return connection


def query(connection: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    """Run one query. Raises QueryError with DuckDB's first line and the views there are."""
    try:
        relation = connection.sql(sql)
        return pa.table({"done": [True]}) if relation is None else relation.to_arrow_table()
    except duckdb.Error as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        missing = "does not exist" in lines[0]
        there = f"; views: {', '.join(view_names(connection)) or 'none'}" if missing else ""
        raise QueryError(f"SQL: {lines[0]}{there}") from error


def view_names(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """All views as one writes them in SQL."""
    rows = connection.sql(
        "select schema_name, view_name from duckdb_views() where not internal order by all"
    ).fetchall()
    return [
        _quoted(view) if schema == "main" else f"{_quoted(schema)}.{_quoted(view)}"
        for schema, view in rows
    ]


def _view_store(connection: duckdb.DuckDBPyConnection, store: Store) -> None:
    attach(connection, store.files)
    _view(connection, store.path.name.removesuffix(".parquet"), store.sql())


def _view_tables(
    connection: duckdb.DuckDBPyConnection, directory: Place, csv: CsvFormat = PLAIN
) -> dict[Place, str]:
    by_stem: dict[str, Place] = {}  # of items.parquet and items.csv the first is the one to show
    for suffix in SUFFIXES:
        for name in sorted(place.name for place in directory.glob(f"*{suffix}")):
            by_stem.setdefault(Path(name).stem, directory / name)
    attach(connection, by_stem.values())
    readings = {by_stem[stem]: _reading(by_stem[stem], csv) for stem in sorted(by_stem)}
    schema = (directory.resolve() if isinstance(directory, Path) else directory).name
    connection.execute(f"create schema if not exists {_quoted(schema)}")
    for path, reading in readings.items():
        _view(connection, path.stem, reading, schema)
    return readings


def _reading(path: Place, csv: CsvFormat) -> str:
    if not is_csv(path):
        return f"select * from read_parquet({quoted(str(path))})"
    try:
        return view_of(path, csv).sql
    except DataError as error:  # said to who reads this table; others of the folder are sound
        return f"select error({quoted(str(error))}) as unreadable from range(1)"


def _view(connection: duckdb.DuckDBPyConnection, name: str, sql: str, schema: str = "main") -> None:
    connection.execute(f"create or replace view {_quoted(schema)}.{_quoted(name)} as {sql}")


def _quoted(name: str) -> str:
    """The name, in double quotes where SQL needs them."""
    plain = re.fullmatch(r"[a-z_][a-z0-9_]*", name)
    return name if plain else '"' + name.replace('"', '""') + '"'
