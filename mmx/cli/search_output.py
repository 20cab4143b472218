"""What the commands of a search show: the rows found, with columns of the items table beside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from mmx.cli.output import note, print_table

if TYPE_CHECKING:
    from pyarrow import Array, Schema, Table
    from rich.progress import Progress, TaskID

    from mmx.cache.store import Store
    from mmx.search.catalogue import ItemsTable

DECIMALS = 4  # of a score on the terminal


def ready_to_write(out: Path | None, overwrite: bool) -> None:
    """Refuse, before any work, an --out that cannot or must not be written."""
    from mmx.cli.table_files import check_out
    from mmx.errors import OptionError

    if out is not None:
        check_out(out, overwrite=overwrite)
    elif overwrite:
        raise OptionError("--overwrite goes with --out")


class LazyBar:
    """A progress callback whose bar is drawn when there is something to draw."""

    def __init__(self, bar: Progress, what: str) -> None:
        self._bar, self._what = bar, what
        self._task: TaskID | None = None

    def __call__(self, done: int, total: int) -> None:
        """Draw it."""
        if self._task is None:
            self._task = self._bar.add_task(self._what, total=total)
        self._bar.update(self._task, completed=done)


@dataclass
class Beside:
    """The items table of the store's dataset, and the items that meet --where."""

    items: ItemsTable | None
    among: Array | None = None  # ids that meet --where; None: there is none
    show: Sequence[str] = ()

    @classmethod
    @contextmanager
    def of(
        cls,
        data: str | None,
        where: str | None,
        show: Sequence[str] | None,
        encoding: str | None,
        delimiter: str | None,
        stores: Sequence[Store],
        needed: bool = True,
    ) -> Iterator[Beside]:
        """Opened from the options; without --data a dataset is used where there is one."""
        from mmx.data.csvs.format import CsvFormat
        from mmx.errors import OptionError
        from mmx.search.catalogue import ItemsTable

        csv = CsvFormat(encoding, delimiter)
        must = bool(where is not None or show or csv.options())
        place = _place(data, must) if needed or must else None
        if place is None:
            yield cls(None)
            return
        names = list(dict.fromkeys(name.strip() for one in show or () for name in one.split(",")))
        if not all(names):
            raise OptionError("--show has an empty name; give the columns as in --show title")
        with ItemsTable(place, [store.path for store in stores], csv=csv) as items:
            items.check_columns(names)
            yield cls(items, None if where is None else items.matching(where), names)

    def described(self, table: Table, column: str) -> Table:
        """With the columns of the items in ``column`` after the table's own."""
        if self.items is None:
            return table
        more = self.items.shown(table[column], self.show)
        for name in more.column_names:
            table = table.append_column(_free(name, table.column_names), more[name])
        return table

    def say_short(self, found: int, k: int, most: int) -> None:
        """Note that fewer than k items were found."""
        if found >= k:
            return
        which = "meet --where and have a vector" if self.among is not None else "have a vector"
        note(f"{found} of {k} items: no others {which} ({most} items can be found in all)")


def _place(data: str | None, must: bool) -> str | None:
    """The dataset that --data names; else the usual one, if there is one."""
    from mmx.cli.dataset import chosen_data
    from mmx.data.shards import is_shards
    from mmx.errors import OptionError

    if data is not None or must:
        return chosen_data(data)
    try:
        place = chosen_data(None)
    except OptionError:
        return None
    return None if is_shards(place) else place  # which have no table to show columns of


def _free(name: str, taken: Sequence[str]) -> str:
    while name in taken:
        name = f"items_{name}"
    return name


@dataclass(frozen=True)
class Shown:
    """Where a result goes: --out, JSON on stdout, or the terminal."""

    out: Path | None
    overwrite: bool
    as_json: bool

    def one(self, table: Table) -> None:
        """All of it."""
        import pyarrow.compute as pc

        from mmx.cli.table_files import plain_rows, print_rows

        if self.out is not None:
            self._write(table.schema, [table])
        elif self.as_json:
            print_rows("json", table.schema, table.combine_chunks().to_batches())
        else:
            if "score" in table.column_names:
                place = table.column_names.index("score")
                table = table.set_column(place, "score", pc.round(table["score"], DECIMALS))
            rows = [row for b in table.combine_chunks().to_batches() for row in plain_rows(b)]
            print_table(table.column_names, rows)

    def several(self, tables: Iterator[Table]) -> None:
        """Tables of one schema, as they come, to --out."""
        first = next(tables)
        self._write(first.schema, chain([first], tables))

    def _write(self, schema: Schema, tables: Iterable[Table]) -> None:
        from mmx.cli.table_files import say_written, write_table

        assert self.out is not None
        batches = (batch for table in tables for batch in table.to_batches())
        count = write_table(self.out, schema, batches, overwrite=self.overwrite)
        say_written(self.out, count, self.as_json)
