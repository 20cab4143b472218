"""One rule for tables as output: the suffix of ``--out``, or ``--format`` on stdout.

    .parquet      types as they are
    .csv .tsv     lists and structures as JSON text, bytes as hexadecimal digits
    .json         one array of objects, a row a line
    .jsonl        one object a line
    .md           a table of Markdown, cells as in CSV

Rows are written as they come. Nothing is overwritten without ``--overwrite``, and with it only a
table that is neither an input of the command nor a table of a dataset.
"""

from __future__ import annotations

import csv
import errno
import json
import os
import sys
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc

from mmx.atomic import Kind, check_target, publishing
from mmx.cli.json_texts import flat_texts, flat_type, json_texts, plain_values
from mmx.cli.output import note, print_json
from mmx.errors import OptionError, TargetError, first_line
from mmx.markdown import escaped, table_head, table_row

SUFFIXES = (".parquet", ".csv", ".tsv", ".json", ".jsonl", ".md")
MARK = b"mmx.table"  # in the metadata of the Parquet tables that we write
ATTRIBUTE = "user.mmx.table"  # of the text files that we write
DELIMITERS = {"csv": ",", "tsv": "\t"}
DATASET = ("items", "interactions")
GROUP = 32 << 20  # bytes of a Parquet row group
LOOKED_AT = 64 << 10  # bytes of a text file

Batches = Iterable[pa.RecordBatch]


def check_out(out: Path, *, overwrite: bool, inputs: Sequence[Path] = ()) -> None:
    """Refuse, before any work, a file that cannot or must not be written.

    ``inputs`` are files that the command reads. Raises OptionError at another suffix, TargetError
    at one of the inputs, at a missing folder and at what may not be replaced.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise OptionError(f"--out {out}: its suffix says the format: {', '.join(SUFFIXES)}")
    if out.exists() and any(one.exists() and out.samefile(one) for one in inputs):
        raise TargetError(f"{out} is read by this very command; set --out elsewhere")
    check_target(out, _kind(out), overwrite, parents=False)


def write_table(
    out: Path,
    schema: pa.Schema,
    batches: Batches,
    *,
    overwrite: bool,
) -> int:
    """Write a table whole or not at all; the number of its rows. See ``check_out``."""
    write = _WRITERS[out.suffix.lower()]
    counted = _Counted(batches)
    kind = _kind(out, schema.names)
    with publishing(out, kind, overwrite=overwrite, parents=False) as temporary:
        write(temporary, schema, counted)
        mark(temporary)
    return counted.rows


def print_rows(form: str, schema: pa.Schema, batches: Batches) -> None:
    """All rows on stdout as "csv", "tsv", "json", "jsonl" or "markdown"."""
    if form in DELIMITERS:
        sys.stdout.flush()
        _separated(sys.stdout.buffer, schema, batches, DELIMITERS[form])
        sys.stdout.buffer.flush()
    elif form == "markdown":
        _markdown(sys.stdout, schema, batches)
    else:
        {"json": _json_array, "jsonl": _json_lines}[form](sys.stdout, batches)


def plain_rows(batch: pa.RecordBatch) -> list[list[Any]]:
    """The rows as ``print_table`` takes them."""
    return [list(row) for row in zip(*map(plain_values, batch.columns), strict=True)]


def say_written(out: Path, rows: int, as_json: bool) -> None:
    """What has been written, on stderr, and on stdout as JSON where that is asked."""
    note(f"{out}: {rows} rows")
    if as_json:
        print_json({"out": str(out), "rows": rows})


class _Counted:
    """Batches that are counted as they go by."""

    def __init__(self, batches: Batches) -> None:
        self._batches, self.rows = batches, 0

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in self._batches:
            self.rows += batch.num_rows
            yield batch


def _parquet(path: Path, schema: pa.Schema, batches: Batches) -> None:
    import pyarrow.parquet as pq

    schema = schema.with_metadata({**(schema.metadata or {}), MARK: b"1"})
    try:
        writer = pq.ParquetWriter(path, schema)
    except pa.ArrowNotImplementedError as error:
        reason = first_line(error).split(". ")[0]
        raise OptionError(f"--out: Parquet cannot hold this ({reason}); cast it to text") from error
    with writer:
        for table in _grouped(schema, batches):
            writer.write_table(table)


def _grouped(schema: pa.Schema, batches: Batches) -> Iterator[pa.Table]:
    """Batches together, until they are large enough for a row group."""
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        held.append(batch)
        size += batch.nbytes
        if size >= GROUP:
            yield pa.Table.from_batches(held).replace_schema_metadata(schema.metadata)
            held, size = [], 0
    if held:
        yield pa.Table.from_batches(held).replace_schema_metadata(schema.metadata)


def _separated(path: Path | IO[bytes], schema: pa.Schema, batches: Batches, delimiter: str) -> None:
    import pyarrow.csv

    flat = pa.schema([(field.name, flat_type(field.type)) for field in schema])
    options = pyarrow.csv.WriteOptions(delimiter=delimiter)
    with pyarrow.csv.CSVWriter(path, flat, write_options=options) as writer:
        for batch in batches:
            writer.write_batch(_flat(batch.columns, schema.names))


def _flat(columns: Sequence[pa.Array], names: Sequence[str]) -> pa.RecordBatch:
    return pa.record_batch([flat_texts(column) for column in columns], names)


def _text(path: Path, write: Callable[[IO[str]], None]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        write(file)


def _markdown(file: IO[str], schema: pa.Schema, batches: Batches) -> None:
    file.write(table_head(schema.names))
    for batch in batches:
        columns = [pc.cast(flat_texts(column), pa.string()).to_pylist() for column in batch.columns]
        for cells in zip(*columns, strict=True):
            file.write(table_row("" if cell is None else escaped(cell) for cell in cells))


def _json_array(file: IO[str], batches: Batches) -> None:
    separator = "[\n"
    for row in _objects(batches):
        file.write(f"{separator}{row}")
        separator = ",\n"
    file.write("[]\n" if separator == "[\n" else "\n]\n")


def _json_lines(file: IO[str], batches: Batches) -> None:
    file.writelines(f"{row}\n" for row in _objects(batches))


def _objects(batches: Batches) -> Iterator[str]:
    for batch in batches:
        yield from json_texts(batch.to_struct_array()).to_pylist()


_WRITERS: dict[str, Callable[[Path, pa.Schema, Batches], None]] = {
    ".parquet": _parquet,
    ".csv": partial(_separated, delimiter=DELIMITERS["csv"]),
    ".tsv": partial(_separated, delimiter=DELIMITERS["tsv"]),
    ".json": lambda path, _, rows: _text(path, lambda file: _json_array(file, rows)),
    ".jsonl": lambda path, _, rows: _text(path, lambda file: _json_lines(file, rows)),
    ".md": lambda path, schema, rows: _text(path, lambda file: _markdown(file, schema, rows)),
}


def _kind(out: Path, names: Sequence[str] | None = None) -> Kind:
    """What may be replaced: what carries our mark.

    Where the file system keeps no marks beside a text, one with the columns ``names`` counts.
    """

    def replaceable(path: Path) -> bool:
        if not path.is_file() or path.resolve().suffix != out.suffix:  # where a link may lead
            return False
        if out.suffix.lower() == ".parquet":
            return _is_ours(path)
        marked = is_marked(path)
        if marked is not None:
            return marked
        return _is_text_table(path) and (names is None or _has_columns(path, names))

    return Kind("an earlier table of mmx", replaceable)


def mark(path: Path) -> None:
    """Say in an attribute of the file that it is ours, where the file system keeps such."""
    with suppress(OSError, AttributeError):  # only Linux has the call
        os.setxattr(path, ATTRIBUTE, b"1")


def is_marked(path: Path) -> bool | None:
    """Whether the file says that it is ours; None where the file system cannot tell."""
    try:
        return bool(os.getxattr(path, ATTRIBUTE))
    except AttributeError:
        return None
    except OSError as error:
        return False if error.errno == errno.ENODATA else None


def _is_ours(path: Path) -> bool:
    """Whether it is a Parquet table that this module wrote; a store is none."""
    import pyarrow.parquet as pq

    try:
        found = pq.read_metadata(path).metadata or {}
    except (pa.ArrowException, OSError):
        return False
    return MARK in found and b"mmx.card" not in found


def _has_columns(path: Path, names: Sequence[str]) -> bool:
    """Whether the header, or the first object, has these columns; an empty table has any."""
    with path.open(encoding="utf-8", newline="") as file:
        lines = [line.strip() for line in (file.readline(), file.readline())]
        file.seek(0)
        try:
            if path.suffix.lower() in (".csv", ".tsv"):
                delimiter = "," if path.suffix.lower() == ".csv" else "\t"
                return next(csv.reader(file, delimiter=delimiter), list(names)) == list(names)
            if path.suffix.lower() == ".md":
                return file.readline() + file.readline() == table_head(names)
            first = lines[1] if path.suffix.lower() == ".json" else lines[0]
            return not first or list(json.loads(first.rstrip(","))) == list(names)
        except (ValueError, csv.Error):
            return lines == ["[]", ""]


def _is_text_table(path: Path) -> bool:
    """Whether a text file may be one of ours, which carry no mark: what it surely is not."""
    with path.open("rb") as file:
        start = file.read(LOOKED_AT)
    try:
        getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    opening = {".json": b"[", ".jsonl": b"{"}.get(path.suffix.lower(), b"")
    right = not start or start.startswith(opening)
    return right and b"\0" not in start and path.stem not in DATASET
