"""Files that list ids: a column of a table, else one id a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from mmx.data.columns import id_column
from mmx.data.csvs.format import PLAIN, CsvFormat, is_csv, is_utf8
from mmx.data.csvs.header import refuse_utf16
from mmx.data.tables import read_table, require
from mmx.errors import DataError, first_line
from mmx.files import Place

MAX_BYTES = 1 << 30  # of a list of lines; a pipe need not end


def read_ids(path: Place, csv: CsvFormat = PLAIN, column: str = "item_id") -> pa.Array:
    """Ids as they are written: of .parquet, .csv and .tsv the ``column``, else one a line.

    Raises DataError for a file that cannot be read or has a row without an id.
    """
    if not (path.is_file() or _is_pipe(path)):
        what = "not a file" if path.exists() else "no such file"
        raise DataError(
            f"{path}: {what}; .parquet or .csv with {column}, or one id a line is expected"
        )
    if path.suffix.lower() != ".parquet" and not is_csv(path):
        return pa.array(filter(None, read_lines(path, csv)), pa.string())
    table = read_table(path, csv=csv, only=(column,))
    require(table, (column,), path)
    return id_column(table, column, path).combine_chunks()


def _is_pipe(path: Place) -> bool:
    """A pipe, as the shell makes of ``@<(command)``. Devices are refused: some never end."""
    return isinstance(path, Path) and path.is_fifo()


def read_lines(path: Place, csv: CsvFormat = PLAIN) -> list[str]:
    """The lines of a text file, not stripped: a blank may be part of an id."""
    try:
        with path.open("rb") as file:
            content = _bounded(file, path)
        if is_utf8(csv.encoding):
            refuse_utf16(content[:200], path)
        text = str(content, csv.encoding or "utf-8").removeprefix("\ufeff")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeError as error:
        reason = first_line(error)
        raise DataError(
            f"{path} is not {csv.encoding or 'UTF-8'}: {reason}; --encoding names what it is"
        ) from error
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


def _bounded(file: Any, path: Place) -> bytes:
    """All of it. Raises DataError where that is more than MAX_BYTES."""
    data = bytearray()
    while chunk := file.read(1 << 20):
        data += chunk
        if len(data) > MAX_BYTES:
            raise DataError(
                f"{path} has more than {MAX_BYTES >> 20} MiB; one id a line is expected"
            )
    return bytes(data)
