"""``mmx recommend``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmx.cli.options import Delimiter, Encoding
from mmx.cli.output import AsJson, Debug, Quiet, note, print_table

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
        list[str] | None,
        typer.Option(help="A new user who took these items: A,B,C, or @FILE; repeatable."),
    ] = None,
    k: Annotated[int, typer.Option(help="Items per user.")] = 20,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="Item ids never shown: A,B,C, or @FILE; repeatable."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Item ids to choose from: A,B,C, or @FILE (text, .csv, .parquet); repeatable."
        ),
    ] = None,
    new_items: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STORE",
            help="Score the items of this store too that the run does not have; repeatable.",
        ),
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STORE",
            help="With --new-items: a store that the run was trained with, if it has moved.",
        ),
    ] = None,
    code: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="With --new-items: mine.py or a module, if the run's model is in it.",
        ),
    ] = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    seen: Annotated[
        str, typer.Option(help="Hide what the user took: all (in any split), train, or none.")
    ] = "all",
    out: Annotated[
        Path | None, typer.Option(help="Write the lists: .parquet, .csv, .tsv, .json or .jsonl.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """The top K items of a user, of all users, or of a new user who took some items."""
    from mmx.cli.table_files import check_out, plain_rows, print_rows
    from mmx.data.csvs.format import CsvFormat, refuse_unused
    from mmx.errors import OptionError

    if [bool(user), everyone, items_from is not None].count(True) != 1:
        raise OptionError("give either --user ID or --all or --items-from A,B,C")
    if everyone and out is None:
        raise OptionError("--all needs --out FILE.parquet")
    for option, given in (("--features", features), ("--code", code)):
        if given and not new_items:
            raise OptionError(f"{option} goes with --new-items; drop it")
    lists = [*(exclude or []), *(only or []), *(items_from or [])]
    inputs = [Path(text[1:]) for text in lists if text.startswith("@")]
    csv = CsvFormat(encoding, delimiter)
    refuse_unused(csv, inputs)
    if out is not None:
        check_out(out, overwrite=overwrite, inputs=inputs)
    elif overwrite:
        raise OptionError("--overwrite goes with --out")
    without, among = _all_ids("--exclude", exclude, csv), _all_ids("--only", only, csv)
    taken = _all_ids("--items-from", items_from, csv)

    from mmx.recommend.recommend_options import RecommendOptions
    from mmx.recommend.recommendation import recommend as ask
    from mmx.recommend.recommendation import recommend_all, recommend_from
    from mmx.recommend.run import open_run

    options = RecommendOptions(k, without or [], among, seen)
    opened = open_run(run)
    if new_items:
        from mmx.recommend.new_items import with_new_items  # imports torch

        opened = with_new_items(opened, new_items, features or (), code=code or (), log=note)
    if taken is not None:
        tables = iter([recommend_from(opened, taken, options)])
    else:
        tables = iter([ask(opened, user, options)]) if user else recommend_all(opened, options)
    if out is not None:
        _write(tables, out, overwrite, as_json)
        return
    table = _described(opened, next(tables)).combine_chunks()
    may = len(opened.data.items) if among is None else len(among)
    _say_short(table, user or ["someone new"], min(k, may))
    if as_json:
        print_rows("json", table.schema, table.to_batches())
        return
    print_table(table.column_names, [r for b in table.to_batches() for r in plain_rows(b)])


def _all_ids(option: str, texts: list[str] | None, csv: CsvFormat) -> list[str] | None:
    """The ids of all texts together, each once; None where the option was not given."""
    from mmx.errors import OptionError

    if not texts:
        return None
    ids = list(dict.fromkeys(name for text in texts for name in _ids(text, csv)))
    if not ids and option != "--exclude":  # of which a list may well be empty
        raise OptionError(f"{option} names no item; give at least one, or leave it out")
    return ids


def _ids(text: str, csv: CsvFormat) -> list[str]:
    from mmx.data.id_lists import read_ids

    if not text.startswith("@"):
        return [part.strip() for part in text.split(",") if part.strip()]
    ids: list[str] = read_ids(Path(text[1:]), csv).to_pylist()
    return ids


def _described(run: Run, table: Table) -> Table:
    """With the items' texts as the last column, where they have some."""
    if "text" not in run.items.column_names:
        return table
    numbers = run.data.items.numbers(table["item_id"].to_pylist())
    return table.append_column("text", run.items["text"].take(numbers))


def _say_short(table: Table, users: list[str], most: int) -> None:
    """Note whose list has fewer than ``most`` items."""
    from collections import Counter

    found = Counter(name or users[0] for name in table["user_id"].to_pylist())
    for name in users:
        if found[name] < most:
            note(f"{name}: {found[name]} of {most} items; the others are hidden, or the model "
                 "knows nothing of them")  # fmt: skip


def _write(tables: Iterator[Table], out: Path, overwrite: bool, as_json: bool) -> None:
    from mmx.cli.table_files import say_written, write_table

    first = next(tables)
    batches = (batch for table in chain([first], tables) for batch in table.to_batches())
    say_written(out, write_table(out, first.schema, batches, overwrite=overwrite), as_json)
