"""The items table beside a search: which items meet a condition, and what is shown of those found.

A condition is SQL of the user's own, checked and run as ``mmx sql`` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from mmx.data.csvs.format import PLAIN, CsvFormat
from mmx.data.quoting import quoted, quoted_name
from mmx.data.shards import is_shards
from mmx.errors import DataError, OptionError, QueryError, first_line, suggestion
from mmx.files import Place
from mmx.sql import Sql, open_sql

NOWHERE = Path("/dev/null")  # neither stores nor runs are looked for
USUAL = ("title", "text")  # of which the first that is there is shown
AT_ONCE = 10_000  # ids in one query


class ItemsTable:
    """The table ``items`` of a dataset; close it, or use it as a context manager."""

    def __init__(
        self, data: Place | str, stores: Sequence[Place | str] = (), *, csv: CsvFormat = PLAIN
    ) -> None:
        """Conditions may also name ``interactions``, and ``stores`` by their names.

        Raises DataError where there is no dataset, or no items table in it.
        """
        if is_shards(data):
            raise DataError(f"{data} is tar shards, which have no items table to ask; name a table "
                            "with item_id and the columns")  # fmt: skip
        self.data = data
        self._sql: Sql = open_sql(NOWHERE, NOWHERE, [data], list(stores), csv=csv)
        with _told(f"{data}: "):
            self.columns = self._sql.ask("select * from items limit 0").column_names
        if "item_id" not in self.columns:
            raise QueryError(f"{data}: its items have no column item_id")

    def matching(self, condition: str) -> pa.Array:
        """Ids of the items that meet a SQL condition over the table's columns.

        Raises OptionError for an empty one, QueryError for one that DuckDB refuses or that would
        do more than read.
        """
        if not isinstance(condition, str) or not condition.strip():
            raise OptionError('--where is empty; give a condition such as "price < 20"')
        with _told("--where: "):
            found = self._sql.ask(
                f"select item_id::varchar as i from items where (\n{condition}\n)"
            )
        return found["i"].drop_null().combine_chunks()

    def check_columns(self, names: Sequence[str]) -> None:
        """Raise OptionError for a column that the table does not have."""
        for name in names:
            if name not in self.columns:
                raise OptionError(f"--show {name}: {self.data} has no such column"
                                  f"{suggestion(name, self.columns)}")  # fmt: skip

    def shown(self, ids: pa.Array | pa.ChunkedArray, columns: Sequence[str] = ()) -> pa.Table:
        """Columns of the items with these ids, null where the table lacks one.

        By default ``title``, else ``text``, else none. Raises OptionError for a column that is
        not there.
        """
        names = list(dict.fromkeys(columns)) or [n for n in USUAL if n in self.columns][:1]
        self.check_columns(names)
        known = pc.unique(ids)
        parts = [self._rows(known[start : start + AT_ONCE], names)
                 for start in range(0, max(len(known), 1), AT_ONCE)]  # fmt: skip
        table = pa.concat_tables(parts)
        place = pc.index_in(ids, value_set=table["mmx_id"].combine_chunks())
        return table.select(names).take(place)

    def _rows(self, ids: pa.Array, names: Sequence[str]) -> pa.Table:
        listed = ", ".join(quoted(str(one)) for one in ids.to_pylist())
        wanted = "".join(f", {quoted_name(name)}" for name in names)
        with _told(f"{self.data}: "):
            return self._sql.ask(
                f"select item_id::varchar as mmx_id{wanted} from items "
                f"where item_id::varchar in ({listed})"
            )

    def close(self) -> None:
        """Release the tables."""
        self._sql.close()

    def __enter__(self) -> ItemsTable:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _told(where: str) -> Iterator[None]:
    """The first line of what DuckDB says, after where it was said."""
    try:
        yield
    except QueryError as error:
        raise QueryError(where + first_line(error).removeprefix("SQL: ")) from error
