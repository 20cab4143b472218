"""A column of an items table as numbers: which items are alike in it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmx.data.columns import plain
from mmx.errors import DataError, OptionError, suggestion
from mmx.files import Place


def categories_of(items: pa.Table, column: str, option: str, path: Place | str) -> np.ndarray:
    """(items,) a number for each value of a column, -1 where there is none.

    ``option`` named the column, ``path`` has the table. Raises OptionError where there is no such
    column, DataError where it is not of single values.
    """
    if column == "item_id" or column not in items.column_names:
        others = [name for name in items.column_names if name != "item_id"]
        raise OptionError(f"{option} {column}: {path} has no such column"
                          f"{suggestion(column, others)}")  # fmt: skip
    values = plain(items[column])
    if pa.types.is_nested(values.type):
        raise DataError(f"{option} {column} is {values.type}; one value for each item is "
                        "expected, a text or a number")  # fmt: skip
    values = pc.if_else(pc.equal(values, ""), None, values) if _is_text(values) else values
    codes = values.combine_chunks().dictionary_encode().indices
    return np.asarray(pc.fill_null(codes, -1).to_numpy(zero_copy_only=False), dtype=np.int64)


def _is_text(values: pa.ChunkedArray) -> bool:
    return pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
