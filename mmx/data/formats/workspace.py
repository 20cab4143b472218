"""The tables of an import while it runs: a DuckDB file, in bounded memory.

    log     user_id, item_id [, rating, timestamp, weight, split], mmx_n    one row an interaction
    meta    item_id and what else is known of an item, mmx_n         one row an item

``mmx_n`` is the place of a row among all that was read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from mmx.data.formats.lines import LineBlock, LineReader
from mmx.data.quoting import quoted, quoted_name

MEMORY = "200MB"  # of DuckDB; what Python holds comes on top of it
BATCH = 8192  # rows in memory while a table is written


@dataclass(frozen=True)
class Column:
    """A column of a table, and where its values come from."""

    name: str
    sql: str  # an expression over the document or the cells of a line
    kind: str = "VARCHAR"
    needed: str = ""  # what a line without it lacks, in words; empty where it may be missing

    def typed(self) -> str:
        """The expression; NULL where there is no value of the kind."""
        if self.kind == "VARCHAR":
            return f"nullif({self.sql}, '')"
        if self.kind == "BIGINT":  # 1e9 and 1400000000.0, too
            number = f"try_cast({self.sql} as decimal(38, 9))"
            return f"try_cast(case when {number} = trunc({number}) then {number} end as bigint)"
        number = f"try_cast({self.sql} as double)"
        return f"case when isfinite({number}) then {number} end"


@dataclass(frozen=True)
class Layout:
    """What the lines of a file hold: JSON objects, of which mmx_v[1], mmx_v[2] … are the values at
    ``paths``, or cells, which are mmx_c[1], mmx_c[2] …"""

    columns: Sequence[Column]
    separator: str | None = None  # between cells; None: JSON
    cells: int = 0
    paths: Sequence[str] = ()
    prepare: Callable[[str], str] | None = None  # a line as JSON; raises ValueError

    def sql(self) -> str:
        """Rows of the block: the columns, mmx_n, and what is wrong with the line."""
        names = [quoted_name(column.name) for column in self.columns]
        typed = [f"{c.typed()} as {n}" for c, n in zip(self.columns, names, strict=True)]
        faults = [
            f"when {quoted_name(c.name)} is null then {quoted(c.needed)}"
            for c in self.columns if c.needed
        ]  # fmt: skip
        return (
            f"with parsed as (select mmx_n, mmx_line, {self._parsed()} from block), "
            f"typed as (select mmx_n, mmx_line, mmx_wrong, {', '.join(typed)} from parsed) "
            f"select {', '.join(names)}, mmx_n, mmx_line, "
            f"case when mmx_wrong is not null then mmx_wrong {' '.join(faults)} end as mmx_fault "
            "from typed"
        )

    def _parsed(self) -> str:
        """The values of a line, and what is ``mmx_wrong`` with all of it.

        One call takes all values out of an object: each call keeps memory for 2048 of them.
        """
        if self.separator is None:
            listed = ", ".join(quoted(f"$.{path}") for path in self.paths)
            good = "json_valid(line) and starts_with(ltrim(line), '{')"
            whole = f"case when {good} then line else '{{}}' end"
            return (
                f"json_extract_string({whole}, [{listed}]) as mmx_v, "
                f"case when not ({good}) then 'it is not an object in JSON' end as mmx_wrong"
            )
        return (
            f"string_split(line, {quoted(self.separator)}) as mmx_c, "
            f"case when len(mmx_c) <> {self.cells} then len(mmx_c) || ' cells, {self.cells} are "
            "expected' end as mmx_wrong"
        )


class Workspace:
    """The database. Use as a context; ``folder`` is deleted by whoever made it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder, self.rows = folder, 0
        self.db = duckdb.connect(
            folder / "import.duckdb",
            config={
                "memory_limit": MEMORY, "threads": 2, "temp_directory": str(folder / "spill"),
                "autoinstall_known_extensions": False, "python_enable_replacements": False,
            },
        )  # fmt: skip

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *_: object) -> None:
        self.db.close()

    def fill(
        self, table: str, path: Path, layout: Layout, reader: LineReader, skip: int = 0
    ) -> None:
        """Add the lines of a file to a table, from line ``skip`` + 1.

        Raises DataError with the first line that lacks something, unless such are skipped.
        """
        for block in reader.blocks(path):
            self._add(table, path, layout, reader, _after(block, skip))

    def query(self, table: str, sql: str) -> None:
        """Add the rows of a query, which has no ``mmx_n``, to a table."""
        self._into(table, f"select *, {self.rows} + row_number() over () as mmx_n from ({sql})")
        self.rows += self.count(table)

    def columns(self, table: str) -> list[str]:
        """The columns of a table without ``mmx_n``; none where there is no table."""
        rows = self.db.execute(
            "select column_name from information_schema.columns where table_name = ? "
            "order by ordinal_position", [table],
        ).fetchall()  # fmt: skip
        return [name for (name,) in rows if name != "mmx_n"]

    def whole(self, table: str, column: str) -> None:
        """Make a column of floating point one of whole numbers, where it has no others."""
        kinds = self.db.execute(
            "select data_type from information_schema.columns "
            "where table_name = ? and column_name = ?", [table, column],
        ).fetchall()  # fmt: skip
        if kinds == [("DOUBLE",)] and not self.count(
            table, f"{column} <> trunc({column}) or abs({column}) > 1e15"
        ):
            self.db.execute(f"alter table {table} alter {column} type bigint")

    def count(self, table: str, where: str = "true") -> int:
        """How many rows a table has."""
        return int(self.one(f"select count(*) from {table} where {where}"))

    def one(self, sql: str) -> int:
        """A single number."""
        return self.db.sql(sql).fetchall()[0][0]

    def replace(self, table: str, sql: str) -> int:
        """Make a table again of a query over itself; how many rows it lost."""
        before = self.count(table)
        self.db.execute(f"create table changed as {sql}")
        self.db.execute(f"drop table {table}")
        self.db.execute(f"alter table changed rename to {table}")
        return before - self.count(table)

    def batches(self, sql: str) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """The rows of a query, some at a time."""
        reader = self.db.sql(sql).to_arrow_reader(BATCH)
        return reader.schema, iter(reader)

    def _add(
        self, table: str, path: Path, layout: Layout, reader: LineReader, block: LineBlock
    ) -> None:
        numbers, lines = _prepared(path, layout, reader, block)
        if not lines:
            return
        n = range(self.rows, self.rows + len(lines))
        self.rows += len(lines)
        arrays = {"mmx_n": pa.array(n, pa.int64()), "mmx_line": pa.array(numbers, pa.int64())}
        self.db.register("block", pa.table({**arrays, "line": pa.array(lines, pa.string())}))
        rows = self.db.sql(layout.sql()).to_arrow_table()
        self.db.unregister("block")
        faulty = rows.filter(pc.is_valid(rows["mmx_fault"]))
        if len(faulty):
            first = faulty.slice(0, 1).to_pylist()[0]
            reader.bad.found(path, first["mmx_line"], first["mmx_fault"], len(faulty))
            rows = rows.filter(pc.is_null(rows["mmx_fault"]))
        self.db.register("rows", rows.drop_columns(["mmx_line", "mmx_fault"]))
        self._into(table, "select * from rows")
        self.db.unregister("rows")

    def _into(self, table: str, sql: str) -> None:
        if self.columns(table):
            self.db.execute(f"insert into {table} by name {sql}")
        else:
            self.db.execute(f"create table {table} as {sql}")


def _after(block: LineBlock, skip: int) -> LineBlock:
    """Without the lines up to ``skip``."""
    if not block.numbers or block.numbers[0] > skip:
        return block
    kept = [(n, line) for n, line in zip(block.numbers, block.lines, strict=True) if n > skip]
    return LineBlock([n for n, _ in kept], [line for _, line in kept])


def _prepared(
    path: Path, layout: Layout, reader: LineReader, block: LineBlock
) -> tuple[list[int], list[str]]:
    """The lines as they are parsed, those left out that cannot be."""
    if layout.prepare is None:
        return block.numbers, block.lines
    numbers, lines = [], []
    for number, line in zip(block.numbers, block.lines, strict=True):
        try:
            lines.append(layout.prepare(line))
            numbers.append(number)
        except ValueError as error:
            reader.bad.found(path, number, str(error))
    return numbers, lines
