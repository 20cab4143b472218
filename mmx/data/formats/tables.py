"""CSV files of any shop: a table of interactions, a table of items, or one that is both.

``--columns item_id=sku,text=title`` says what their columns are called. A table with users is the
interactions; one without is the items. CSV is read as everywhere (``mmx.data.csvs``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mmx.data.csvs.reader import view_of
from mmx.data.formats.options import Source
from mmx.data.quoting import quoted_name
from mmx.errors import DataError, OptionError, first_few

TEXT = ""
LOG = ("user_id", "item_id", "rating", "timestamp", "split")


def load(source: Source) -> None:
    """Read one or two tables. Raises DataError where they lack a column."""
    names = source.renamed({name: name for name in LOG})
    used: set[str] = set()
    logs = items = 0
    for number, path in enumerate(source.files("*.csv", "*.tsv", "*.csv.gz", "*.tsv.gz")):
        sql, there = _view(source, path, number)
        used |= set(there)
        if names["user_id"] in there:
            _read_log(source, path, sql, there, names)
            logs += 1
        else:
            _read_items(source, path, sql, there, names)
            items += 1
    unused = [f"{o}={t}" for o, t in source.options.columns.items() if t not in used]
    if unused:
        raise OptionError(f"--columns {first_few(unused)}: no file has such a column")
    if not logs:
        raise DataError(
            f"{first_few(source.places)}: no table has the column {names['user_id']}; "
            "--columns user_id=NAME says what the users' ids are called"
        )
    if not items:
        _items_of_log(source, names)


def _view(source: Source, path: Path, number: int) -> tuple[str, dict[str, str]]:
    """A query over the file, and the type of each of its columns."""
    suffix = ".tsv" if path.name.removesuffix(".gz").endswith(".tsv") else ".csv"
    copy = source.reader.unpacked(source.using(path), source.work.folder / f"{number}{suffix}")
    view = view_of(copy, source.options.csv)
    relation = source.work.db.sql(view.sql)
    return view.sql, dict(zip(relation.columns, map(str, relation.types), strict=True))


def _read_log(
    source: Source, path: Path, sql: str, there: Mapping[str, str], names: Mapping[str, str]
) -> None:
    if names["item_id"] not in there:
        raise _lacks(path, "item_id", names["item_id"], there)
    ours = {name: names[name] for name in LOG if names[name] in there}
    kept = _more(there, names, ours) if len(source.places) == 1 else {}
    listed = [f"{quoted_name(theirs)} as {quoted_name(name)}" for name, theirs in ours.items()]
    listed += [f"{quoted_name(theirs)} as {quoted_name('item ' + n)}" for n, theirs in kept.items()]
    for name in ("rating", "timestamp"):
        if name in ours and there[ours[name]] == "VARCHAR":
            raise DataError(f"{path}: {ours[name]} is text; numbers are expected as {name}")
    start = source.work.rows
    source.work.query("log", f"select {', '.join(listed)} from ({sql})")
    _whole(source, path, ours, start)


def _whole(source: Source, path: Path, ours: Mapping[str, str], start: int) -> None:
    """Refuse, or leave out, rows without a value."""
    work, bad = source.work, source.reader.bad
    for name, theirs in ours.items():
        column = quoted_name(name)
        rows = work.count("log", f"{column} is null")
        if rows:
            first = work.one(f"select min(n) from log where {column} is null") - start
            where = f"row {first} (the header not counted)"
            bad.found(path, where, f"{theirs} is missing", rows)
            work.replace("log", f"select * from log where {column} is not null")


def _more(
    there: Mapping[str, str], names: Mapping[str, str], log: Mapping[str, str]
) -> dict[str, str]:
    """The columns of a table that is both which say something of an item."""
    ours = {theirs: name for name, theirs in names.items()}
    return {ours.get(t, t): t for t in there if t not in log.values()}


def _items_of_log(source: Source, names: Mapping[str, str]) -> None:
    """Of a single table the columns that are not of interactions, of each item the first row."""
    work = source.work
    more = [name for name in work.columns("log") if name.startswith("item ")]
    if not more:
        return
    listed = ", ".join(f"{quoted_name(n)} as {quoted_name(n[5:])}" for n in more)
    work.db.execute(
        f"create table meta as select item_id, {listed}, n from log "
        "where n in (select min(n) from log group by item_id)"
    )
    work.replace("log", f"select * exclude ({', '.join(map(quoted_name, more))}) from log")


def _read_items(
    source: Source, path: Path, sql: str, there: Mapping[str, str], names: Mapping[str, str]
) -> None:
    if names["item_id"] not in there:
        raise _lacks(path, "item_id", names["item_id"], there)
    ours = {theirs: name for name, theirs in names.items() if name not in LOG[2:]}
    listed = [f"{quoted_name(t)} as {quoted_name(ours.get(t, t))}" for t in there]
    source.work.query("meta", f"select {', '.join(listed)} from ({sql})")
    rows = source.work.count("meta", "item_id is null")
    if rows:
        source.reader.bad.found(path, "the items", f"{names['item_id']} is missing", rows)
        source.work.replace("meta", "select * from meta where item_id is not null")


def _lacks(path: Path, ours: str, theirs: str, there: Mapping[str, str]) -> DataError:
    return DataError(
        f"{path} has no column {theirs}; it has {first_few(there, 8)}; --columns {ours}=NAME says "
        "which one it is"
    )
