"""``mmx sql``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmx.cli.options import Delimiter, Encoding
from mmx.cli.output import AsJson, Debug, Quiet, note, print_table, printable

if TYPE_CHECKING:
    from mmx.sql import Rows, Sql

SHOWN, PAGED = 40, 1000  # rows that are printed; at the prompt, where a pager has them
FORMATS = ("table", "markdown", "csv", "tsv", "json", "jsonl")


def sql(
    query: Annotated[
        str | None,
        typer.Argument(
            help="SQL; stores, runs and datasets are views. Without it: a prompt, or the "
            "statements on stdin.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(help="Dataset directory to show, path or URL; may be repeated."),
    ] = None,
    store: Annotated[
        list[str] | None,
        typer.Option(help="Store outside --cache to show, path or URL; may be repeated."),
    ] = None,
    cache: Annotated[Path, typer.Option(help="Folder of stores.")] = Path("cache"),
    runs: Annotated[Path, typer.Option(help="Folder of runs.")] = Path("runs"),
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="Print it as table, markdown, csv, tsv, json or jsonl.",
            show_default="table",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write it: .parquet, .csv, .tsv, .json, .jsonl or .md.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out.")] = False,
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="Take any SQL: what writes files, loads extensions …")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Query embeddings, runs and datasets with DuckDB SQL that reads and changes nothing.

    Vectors are FLOAT[d] arrays: array_cosine_similarity, array_inner_product and the like
    take them as they are. cosine(a, b) compares two, nearest(store, item, k) finds similar
    items. `show all tables` lists what there is.
    """
    from mmx.cli.formats import chosen_format
    from mmx.cli.sql_input import on_terminal, piped
    from mmx.cli.table_files import check_out
    from mmx.data.csvs.format import CsvFormat
    from mmx.errors import OptionError
    from mmx.sql import open_sql

    if out is not None:
        if form is not None:
            raise OptionError("--format is what is printed; the suffix of --out says its own")
        check_out(out, overwrite=overwrite)
    elif overwrite:
        raise OptionError("--overwrite goes with --out")
    form = chosen_format(form, FORMATS, as_json=as_json)
    for option, folder, usual in (("--cache", cache, "cache"), ("--runs", runs, "runs")):
        if folder != Path(usual) and not folder.is_dir():
            raise OptionError(f"{option} {folder}: no such folder")
    typed = query is None and on_terminal()
    if typed and out is not None:
        raise OptionError("--out needs a query; at the prompt results are shown")
    asked = [query] if query is not None else [] if typed else piped()
    if out is not None and len(asked) > 1:
        raise OptionError(f"--out takes one statement; stdin has {len(asked)}")
    csv = CsvFormat(encoding, delimiter)
    with open_sql(cache, runs, data or [], store or [], csv=csv, unsafe=unsafe) as opened:
        for line in opened.notes:
            note(line)
        if typed:
            from mmx.cli.sql_prompt import prompt

            prompt(opened, lambda text: _print(opened.stream(text), form, paged=True))
        elif out is not None:
            _write(opened, asked[0], out, overwrite, as_json)
        else:
            _all(asked, lambda text: _print(opened.stream(text), form))


def _all(asked: list[str], show: Callable[[str], None]) -> None:
    for number, text in enumerate(asked, start=1):
        with _numbered(number, len(asked)):
            show(text)


@contextmanager
def _numbered(number: int, count: int) -> Iterator[None]:
    """Have an error say which of several statements it is of."""
    from mmx.errors import QueryError

    try:
        yield
    except QueryError as error:
        if count == 1:
            raise
        raise QueryError(f"statement {number} of {count}: {error}") from error


def _write(opened: Sql, query: str, out: Path, overwrite: bool, as_json: bool) -> None:
    from mmx.cli.table_files import check_out, say_written, write_table

    named = [out] if out.exists() and opened.names(query, out) else []
    check_out(out, overwrite=overwrite, inputs=[*opened.files, *named])
    rows = opened.stream(query)
    count = write_table(out, rows.schema, rows.batches, overwrite=overwrite)
    say_written(out, count, as_json)


def _print(rows: Rows, form: str, *, paged: bool = False) -> None:
    from mmx.cli.table_files import plain_rows, print_rows

    if form != "table":
        print_rows(form, rows.schema, rows.batches)
        return
    shown: list[list[Any]] = []
    count, limit = 0, PAGED if paged else SHOWN
    for batch in rows.batches:
        shown += plain_rows(batch.slice(0, max(limit - count, 0)))
        count += batch.num_rows
    if rows.schema.names == ["explain_key", "explain_value"]:
        for _, plan in shown:
            print(printable(plan))
        return
    print_table(rows.schema.names, shown, paged=paged)
    if count > limit:
        note(f"{limit} of {count} rows; --out FILE.parquet or --format json gives all")
