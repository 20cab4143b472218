"""``mmx recommend``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmx.cli.options import Delimiter, Encoding
from mmx.cli.output import AsJson, Debug, Quiet, note, print_json, print_table

if TYPE_CHECKING:
    from pyarrow import Table

    from mmx.data.csvs.format import CsvFormat
    from mmx.recommend.run import Run


def recommend(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    user: Annotated[
        list[str] | None, typer.Option(help="User id as in the interactions; repeatable.")
    ] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Every user; needs --out.")] = False,
    items_from: Annotated[
        str | None,
        typer.Option(help="Someone new who took these items: A,B,C, or @FILE."),
    ] = None,
    k: Annotated[int, typer.Option(help="Items a user.")] = 20,
    exclude: Annotated[
        str | None, typer.Option(help="Item ids never shown: A,B,C, or @FILE.")
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(help="Item ids to choose from: A,B,C, or @FILE (text, .csv, .parquet)."),
    ] = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    seen: Annotated[
        str, typer.Option(help="Hide what the user took: in all splits, train only, or none.")
    ] = "all",
    out: Annotated[Path | None, typer.Option(help="Write the lists as Parquet.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """The top K items of a user, of all users, or of someone new who took some items."""
    from mmx.data.csvs.format import CsvFormat, refuse_unused
    from mmx.errors import OptionError, RunError
    from mmx.recommend.recommendation import Wanted, recommend_all, recommend_from
    from mmx.recommend.recommendation import recommend as ask
    from mmx.recommend.run import open_run

    if [bool(user), everyone, items_from is not None].count(True) != 1:
        raise OptionError("give either --user ID or --all or --items-from A,B,C")
    if everyone and out is None:
        raise OptionError("--all needs --out FILE.parquet")
    if out is not None and out.exists() and not overwrite:
        raise RunError(f"{out} exists; set --out elsewhere, or --overwrite")
    opened = open_run(run)
    csv = CsvFormat(encoding, delimiter)
    lists = [text for text in (exclude, only, items_from) if text and text.startswith("@")]
    refuse_unused(csv, [Path(text[1:]) for text in lists])
    wanted = Wanted(k, _ids(exclude, csv) or [], _ids(only, csv), seen)
    tables = iter([ask(opened, user, wanted)]) if user else recommend_all(opened, wanted)
    if items_from is not None:
        tables = iter([recommend_from(opened, _ids(items_from, csv) or [], wanted)])
    if out is not None:
        _write(tables, out)
        return
    rows = _described(opened, next(tables).to_pylist())
    if as_json:
        print_json(rows)
        return
    columns = ["user_id", "rank", "item_id", "score", "text"]
    print_table(columns, [[row[name] for name in columns] for row in rows])


def _ids(text: str | None, csv: CsvFormat) -> list[str] | None:
    from mmx.data.id_lists import read_ids

    if text is None:
        return None
    if not text.startswith("@"):
        return [part.strip() for part in text.split(",") if part.strip()]
    return read_ids(Path(text[1:]), csv).to_pylist()


def _described(run: Run, rows: list[dict]) -> list[dict]:
    """Add the items' texts."""
    numbers = run.data.items.numbers([row["item_id"] for row in rows])
    texts = run.items["text"].take(numbers).to_pylist()
    return [{**row, "text": text} for row, text in zip(rows, texts, strict=True)]


def _write(tables: Iterator[Table], out: Path) -> None:
    import pyarrow.parquet as pq

    from mmx.cache.files import replacing

    first = next(tables)
    count = first.num_rows
    with replacing(out) as temporary, pq.ParquetWriter(temporary, first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)
            count += table.num_rows
    note(f"{out}: {count} rows")
