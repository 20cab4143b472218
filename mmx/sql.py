"""SQL over stores, runs and datasets, as DuckDB views by name.

    clip                    the store cache/clip.parquet; vectors are FLOAT[d] arrays
    "NAME".users, .items,   the tables of runs/NAME
      .history, .per_user, .interactions
    "DIR".items,            the tables of a dataset directory
      .interactions

Of the first dataset given, ``items`` and ``interactions`` also exist without a schema.

Both levels have the macros ``cosine`` and ``nearest`` (``mmx.sql_macros``).

A query only reads (``mmx.sql_statements`` says which are allowed), at two levels:

    local    for the owner of the machine: its files may be named too
    served   for strangers: only what was attached, for ten seconds, in bounded memory, at most
             10,000 rows

DuckDB's limit on memory is for tables, sorts and joins; texts and lists that a function makes
are outside of it. Functions that make large ones from short calls are therefore not served, but
a server for strangers should limit the memory of its process too.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple, cast

import duckdb
import pyarrow as pa

from mmx.cache.attach import attach
from mmx.cache.store import literal
from mmx.data.csvs.format import PLAIN, CsvFormat
from mmx.data.quoting import quoted, quoted_name
from mmx.errors import OptionError, QueryError, ctrl_c, first_line
from mmx.files import Place, RemotePath, as_path
from mmx.kinds import must_be
from mmx.sql_interrupt import interruptible
from mmx.sql_macros import add_macros
from mmx.sql_statements import Statement, checked
from mmx.sql_views import View, unquoted, views_of

SECONDS, ROWS, MEMORY = 10, 10_000, "1GB"  # of a served query
BATCH = 2048  # rows of a batch
CUT = b"mmx.cut"  # in the schema's metadata of an answer that had more rows


class Rows(NamedTuple):
    """An answer in batches, all of one schema."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


class Sql:
    """What was attached, ready for queries; several threads may query at once.

    ``notes`` has one line for each thing that is absent or has another name here; ``files`` are
    the local files that the views read.
    """

    def __init__(
        self, views: Sequence[View], notes: Sequence[str] = (), *, level: str, unsafe: bool = False
    ) -> None:
        if level not in ("local", "served") or (unsafe and level == "served"):
            raise OptionError(f"level {level} (unsafe: {unsafe}) is unknown; known: local, served")
        self._views, self._level, self._unsafe = list(views), level, unsafe
        self.notes = list(notes)
        places = [place for view in views for place in view.places]
        self.files = [place for place in places if isinstance(place, Path)]
        self._spill = _spill() if self._local else None
        self._connection = duckdb.connect(config=self._config())
        attach(self._connection, places)
        self._make_views()
        add_macros(self._connection, self._views)
        if not unsafe:
            _lock(self._connection, _allowed(places), [Path.cwd().anchor] if self._local else [])

    @property
    def _local(self) -> bool:
        return self._level == "local"

    @property
    def views(self) -> list[str]:
        """All views as one writes them in SQL."""
        return sorted(view.written for view in self._views)

    def ask(self, query: str) -> pa.Table:
        """Run one query. Columns of one name get distinct ones (``a``, ``a_1``).

        At the level "served" the first 10,000 rows; where there were more, the schema's metadata
        has ``mmx.cut``. Raises QueryError with DuckDB's message, or when the query would do more
        than read.
        """
        rows = self.stream(query)
        limit = None if self._local else ROWS
        batches, cut = _first(rows.batches, limit)
        table = pa.Table.from_batches(batches, rows.schema)
        return table.replace_schema_metadata({CUT: str(limit)}) if cut else table

    def stream(self, query: str) -> Rows:
        """All rows of one query, batch by batch. Raises QueryError as ``ask`` does."""
        cursor = self._connection.cursor()
        with self._explained(query):
            with interruptible(cursor):
                relation = self._relation(cursor, query)
            if relation is None:  # a statement without a result
                schema = pa.schema({"done": pa.bool_()})
                return Rows(schema, iter([pa.record_batch([[True]], schema=schema)]))
            with interruptible(cursor):
                reader = relation.to_arrow_reader(BATCH)
            schema = _distinct(reader.schema)
        return Rows(schema, self._batches(cursor, reader, schema, query))

    def names(self, query: str, path: Path) -> bool:
        """Whether the query itself names this file, by its name or a pattern."""
        if self._unsafe:
            return False
        with self._explained(query), self._connection.cursor() as cursor:
            names = self._checked(cursor, query).names
        return any(fnmatch(os.path.realpath(path), os.path.realpath(name)) for name in names)

    def close(self) -> None:
        """Release everything, the files of large sorts too."""
        self._connection.close()
        if self._spill:
            self._spill.cleanup()

    def __enter__(self) -> Sql:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _config(self) -> dict[str, Any]:
        config: dict[str, Any] = {
            "python_enable_replacements": False,
            "temp_directory": self._spill.name if self._spill else "",
        }
        if not self._unsafe:
            config |= {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
            config |= {"allow_community_extensions": False, "allow_persistent_secrets": False}
        if not self._local:
            config |= {"memory_limit": MEMORY, "max_execution_time": 1000 * SECONDS}
        return config

    def _make_views(self) -> None:
        for view in list(self._views):
            name = f"{quoted_name(view.schema)}.{quoted_name(view.name)}"
            try:
                self._connection.execute(f"create schema if not exists {quoted_name(view.schema)}")
                self._connection.execute(f"create view {name} as {view.sql}")
            except (duckdb.Error, UnicodeError, OSError) as error:
                line = f"{view.places[0]} is unreadable: {first_line(error)}"
                if not view.found:
                    raise QueryError(line) from error
                self.notes.append(line)
                self._views.remove(view)

    def _checked(self, cursor: duckdb.DuckDBPyConnection, query: str) -> Statement:
        names = {view.name.lower() for view in self._views}
        return checked(cursor, query, files=self._local, views=names)

    def _relation(
        self, cursor: duckdb.DuckDBPyConnection, query: str
    ) -> duckdb.DuckDBPyRelation | None:
        if self._unsafe:
            return cursor.sql(query)
        sql = self._checked(cursor, query).sql
        try:
            return cursor.sql(sql)
        except (duckdb.CatalogException, duckdb.BinderException):
            cursor.execute(sql)  # fails as well, and says in which line
            raise

    def _batches(
        self, cursor: duckdb.DuckDBPyConnection, reader: pa.RecordBatchReader, schema: pa.Schema,
        query: str,
    ) -> Iterator[pa.RecordBatch]:  # fmt: skip
        with self._explained(query):
            while True:
                with interruptible(cursor):
                    batch = next(reader, None)
                if batch is None:
                    return
                yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)

    @contextmanager
    def _explained(self, query: str) -> Iterator[None]:
        """Turn what DuckDB raises, and Arrow when rows come from DuckDB, into a QueryError."""
        try:
            with ctrl_c():
                yield
        except (duckdb.Error, pa.ArrowException, OSError, UnicodeError) as error:
            raise QueryError(self._message(str(error), query)) from error

    def _message(self, message: str, query: str) -> str:
        """DuckDB's message, its first line with what helps."""
        first, *more = [line for line in message.splitlines() if line.strip()] or ["no reason"]
        if first.startswith("Traceback"):  # of a remote file system
            first, more = more[-1], []
        helps = [first.rstrip("!.")]
        if "does not exist" in first:
            helps.append(f"views: {', '.join(self.views) or 'none'}")
        bare = [name for view in self._views for name in (view.schema, view.name)]
        helps += [f"write {name} in double quotes" for name in unquoted(bare, query, first)]
        if "disabled by configuration" in first:
            helps.append(
                "URLs are read when they were given as --store or --data"
                if self._local else "only what was attached is read here"
            )  # fmt: skip
        return "\n".join(["SQL: " + "; ".join(helps), *more])


def open_sql(
    cache: Path | str = "cache",
    runs: Path | str = "runs",
    datasets: Place | str | Sequence[Place | str] = (),
    stores: Place | str | Sequence[Place | str] = (),
    *,
    csv: CsvFormat = PLAIN,
    level: str = "local",
    unsafe: bool = False,
) -> Sql:
    """Views of all stores in ``cache``, all runs in ``runs``, and of the datasets and stores named.

    ``csv`` says how CSV tables of the datasets are written. ``unsafe`` takes any SQL, at the
    level "local" only. Raises StoreError and DataError when something named is not there or not
    readable.
    """
    datasets, stores = _several(datasets), _several(stores)
    must_be("csv", csv, CsvFormat)
    found = views_of(as_path(cache), as_path(runs), datasets, stores, csv)
    return Sql(found.views, found.notes, level=level, unsafe=unsafe)


def _several(places: Place | str | Sequence[Place | str]) -> list[Place | str]:
    """A single one is a list of one; what is not a path is refused where it is used."""
    one = isinstance(places, (str, Path, RemotePath)) or not isinstance(places, Iterable)
    return [cast(Place, places)] if one else list(places)  # type: ignore[arg-type]


def _lock(
    connection: duckdb.DuckDBPyConnection, paths: Sequence[str], folders: Sequence[str]
) -> None:
    """From now on only these are read, and no setting changes. DuckDB needs this order."""
    for setting, values in (("allowed_directories", folders), ("allowed_paths", paths)):
        connection.execute(f"set {setting} = [{', '.join(map(quoted, values))}]")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")


def _allowed(places: Sequence[Place]) -> list[str]:
    """The places as DuckDB names them: a file system may spell them in its own way."""
    names: dict[str, None] = {}
    for place in places:
        names |= {str(place): None, str(literal(place)): None}
        if isinstance(place, RemotePath):
            names[f"{place.scheme}://{place.fs._strip_protocol(place.url)}"] = None
    return list(names)


def _spill() -> tempfile.TemporaryDirectory[str]:
    """A folder of our own for what sorts and joins cannot keep in memory."""
    return tempfile.TemporaryDirectory(prefix="mmx-sql-", ignore_cleanup_errors=True)


def _first(
    batches: Iterator[pa.RecordBatch], limit: int | None
) -> tuple[list[pa.RecordBatch], bool]:
    """The first rows of an answer, and whether there were more."""
    kept: list[pa.RecordBatch] = []
    room = limit
    for batch in batches:
        if room is not None and batch.num_rows > room:
            return [*kept, batch.slice(0, room)], True
        kept.append(batch)
        room = None if room is None else room - batch.num_rows
    return kept, False


def _distinct(schema: pa.Schema) -> pa.Schema:
    """The same, each column under a name of its own."""
    names: list[str] = []
    for name in schema.names:
        number, tried = 0, name
        while tried in names or (number and tried in schema.names):
            number += 1
            tried = f"{name}_{number}"
        names.append(tried)
    return pa.schema([f.with_name(n) for f, n in zip(schema, names, strict=True)], schema.metadata)
