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
from mmx.errors import QueryError
from mmx.files import Place, where


def connect(
    cache: Path,
    runs: Path,
    datasets: Sequence[Place | str] = (),
    stores: Sequence[Place | str] = (),
) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB with a view for each table found. Nothing is copied or loaded."""
    connection = duckdb.connect()
    found = sorted(cache.glob("*.parquet")) if cache.is_dir() else []
    for path in [*found, *map(where, stores)]:
        if is_store(path):
            _view_store(connection, open_store(path))
    for directory in sorted(runs.iterdir()) if runs.is_dir() else []:
        if (directory / "config.json").exists():
            _view_tables(connection, directory)
    for number, dataset in enumerate(datasets):
        for path in _view_tables(connection, where(dataset)):
            if number == 0:
                _view(connection, path.stem, _reading(path))
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


def _view_tables(connection: duckdb.DuckDBPyConnection, directory: Place) -> list[Place]:
    names = [place.name for end in ("parquet", "csv") for place in directory.glob(f"*.{end}")]
    tables = [directory / name for name in sorted(names)]
    attach(connection, tables)
    schema = (directory.resolve() if isinstance(directory, Path) else directory).name
    connection.execute(f"create schema if not exists {_quoted(schema)}")
    for path in tables:
        _view(connection, path.stem, _reading(path), schema)
    return tables


def _reading(path: Place) -> str:
    function = "read_csv" if path.suffix == ".csv" else "read_parquet"
    return f"select * from {function}({quoted(str(path))})"


def _view(connection: duckdb.DuckDBPyConnection, name: str, sql: str, schema: str = "main") -> None:
    connection.execute(f"create or replace view {_quoted(schema)}.{_quoted(name)} as {sql}")


def _quoted(name: str) -> str:
    """The name, in double quotes where SQL needs them."""
    plain = re.fullmatch(r"[a-z_][a-z0-9_]*", name)
    return name if plain else '"' + name.replace('"', '""') + '"'
