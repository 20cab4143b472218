"""CSV files of any shop: a table of interactions, a table of items, or one that is both.

``--columns item_id=sku,text=title`` says what their columns are called. A table with users is the
interactions; one without is the items. CSV is read as everywhere (``mmx.data.csvs``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mmx.data.csvs.reader import view_of
from mmx.data.formats.cells import NUMBERS
from mmx.data.formats.options import ImportSource
from mmx.data.quoting import quoted_name
from mmx.errors import DataError, OptionError, first_few

TEXT = ""
COLUMNS = ()  # not known before the files are read
MEMBERS = ("*.csv", "*.tsv", "*.csv.gz", "*.tsv.gz")
LOG = ("user_id", "item_id", *NUMBERS, "split")
ITEM = "item "  # before the name of a column of items in a log


def load(source: ImportSource) -> None:
    """Read one or two tables. Raises DataError where they lack a column."""
    names = source.renamed({name: name for name in LOG})
    files = source.files(*MEMBERS)
    tables = [_table(source, path, number, names) for number, path in enumerate(files)]
    logs = [table for table in tables if names["user_id"] in table.columns]
    items = [table for table in tables if table not in logs]
    _check(source, tables, logs, items)
    for table in logs:
        _read_log(source, table, names, both=len(tables) == 1)
    for table in items:
        _read_items(source, table, names)
    if not items:
        _items_of_log(source)


@dataclass(frozen=True)
class _Table:
    path: Path
    sql: str  # a query over it
    columns: dict[str, str]  # the types by name


def _table(source: ImportSource, path: Path, number: int, names: Mapping[str, str]) -> _Table:
    """A file, unpacked where it is in gzip. Ids and texts are text whatever they look like."""
    suffix = ".tsv" if path.name.removesuffix(".gz").endswith(".tsv") else ".csv"
    copy = source.reader.unpacked(source.using(path), source.work.folder / f"{number}{suffix}")
    text = [theirs for ours, theirs in names.items() if ours not in NUMBERS]
    sql = view_of(copy, source.options.csv, text).sql
    relation = source.work.db.sql(sql)
    return _Table(path, sql, dict(zip(relation.columns, map(str, relation.types), strict=True)))


def _check(
    source: ImportSource, tables: list[_Table], logs: list[_Table], items: list[_Table]
) -> None:
    """Raise an error unless there are interactions, and what was named is there."""
    there = {name for table in tables for name in table.columns}
    unused = [f"{o}={t}" for o, t in source.options.columns.items() if t not in there]
    if unused:
        raise OptionError(f"--columns {first_few(unused)}: no file has such a column")
    users = source.options.columns.get("user_id", "user_id")
    if not logs:
        raise DataError(
            f"{first_few(source.places)}: no table has the column {users}; "
            "--columns user_id=NAME says what the users' ids are called"
        )
    if len(items) > 1:
        listed = first_few(table.path.name for table in items)
        raise DataError(f"{listed} have no column {users}; one table of items is expected")


def _read_log(source: ImportSource, table: _Table, names: Mapping[str, str], *, both: bool) -> None:
    there = table.columns
    if names["item_id"] not in there:
        raise _lacks(table, names["item_id"])
    ours = {name: names[name] for name in LOG if names[name] in there}
    for name in NUMBERS:
        if name in ours and there[ours[name]] == "VARCHAR":
            raise DataError(f"{table.path}: {ours[name]} is text; numbers are expected as {name}")
    listed = [f"{quoted_name(theirs)} as {quoted_name(name)}" for name, theirs in ours.items()]
    if both:
        called = {theirs: name for name, theirs in names.items()}
        listed += [
            f"{quoted_name(t)} as {quoted_name(ITEM + called.get(t, t))}"
            for t in there if t not in ours.values()
        ]  # fmt: skip
    start = source.work.rows
    source.work.query("log", f"select {', '.join(listed)} from ({table.sql})")
    _whole(source, table.path, ours, start)


def _whole(source: ImportSource, path: Path, ours: Mapping[str, str], start: int) -> None:
    """Refuse, or leave out, rows without a value."""
    work, bad = source.work, source.reader.bad
    for name, theirs in ours.items():
        column, reason = quoted_name(name), f"{theirs} is missing"
        good = f"{column} is not null"
        if name == "weight":
            good, reason = f"{column} > 0 is true", f"{reason} or not above 0"
        rows = work.count("log", f"not ({good})")
        if rows:
            first = work.one(f"select min(mmx_n) from log where not ({good})") - start
            where = f"row {first} (the header not counted)"
            bad.found(path, where, reason, rows)
            work.replace("log", f"select * from log where {good}")


def _items_of_log(source: ImportSource) -> None:
    """Of a single table the columns that are not of interactions, of each item the first row."""
    work = source.work
    more = [name for name in work.columns("log") if name.startswith(ITEM)]
    if not more:
        return
    listed = ", ".join(f"{quoted_name(n)} as {quoted_name(n.removeprefix(ITEM))}" for n in more)
    work.db.execute(
        f"create table meta as select item_id, {listed}, mmx_n from log "
        "where mmx_n in (select min(mmx_n) from log group by item_id)"
    )
    work.replace("log", f"select * exclude ({', '.join(map(quoted_name, more))}) from log")


def _read_items(source: ImportSource, table: _Table, names: Mapping[str, str]) -> None:
    if names["item_id"] not in table.columns:
        raise _lacks(table, names["item_id"])
    ours = {theirs: name for name, theirs in names.items() if name not in LOG[2:]}
    listed = [f"{quoted_name(t)} as {quoted_name(ours.get(t, t))}" for t in table.columns]
    source.work.query("meta", f"select {', '.join(listed)} from ({table.sql})")
    rows = source.work.count("meta", "item_id is null")
    if rows:
        reason = f"{names['item_id']} is missing"
        source.reader.bad.found(table.path, f"{rows} rows", reason, rows)
        source.work.replace("meta", "select * from meta where item_id is not null")


def _lacks(table: _Table, theirs: str) -> DataError:
    return DataError(
        f"{table.path} has no column {theirs}; it has {first_few(table.columns, 8)}; --columns "
        "item_id=NAME says which one it is"
    )
