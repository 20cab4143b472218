"""A table of what new users took: user_id and item_id, a row a pair."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from mmx.data.columns import id_column
from mmx.data.csvs.format import PLAIN, CsvFormat
from mmx.data.tables import read_table, require
from mmx.errors import DataError
from mmx.files import Place

COLUMNS = ("user_id", "item_id")


def read_histories(source: Place | pa.Table, csv: CsvFormat = PLAIN) -> pa.Table:
    """From a Parquet or CSV file, or a table in memory; other columns are left out.

    Raises DataError for a file that cannot be read, a missing column, a row without an id and a
    table without rows.
    """
    place: Place
    if isinstance(source, pa.Table):
        table, place = source, Path("--histories")  # what messages call it
    else:
        if not source.is_file():
            what = "not a file" if source.exists() else "no such file"
            raise DataError(f"--histories {source}: {what}; a .parquet or .csv with user_id and "
                            "item_id is expected")  # fmt: skip
        table, place = read_table(source, csv=csv, only=COLUMNS), source
    require(table, COLUMNS, place)
    if not table.num_rows:
        raise DataError(f"{place} has no rows; user_id and item_id of each pair are expected")
    return pa.table({name: id_column(table, name, place) for name in COLUMNS})
