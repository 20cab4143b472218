"""``mmx recommend``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmx.cli.dataset import tables_of
from mmx.cli.id_lists import item_lists, user_list
from mmx.cli.options import Delimiter, Encoding, ListDevice, of_items, of_users
from mmx.cli.output import AsJson, Debug, Quiet, note, print_table, progress_bar
from mmx.cli.search_output import LazyBar

if TYPE_CHECKING:
    from pyarrow import Table

    from mmx.recommend.recommend_options import RecommendOptions
    from mmx.recommend.run import Run

DIGITS = 9  # of a number of items


def recommend(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    user: Annotated[
        list[str] | None, of_users(help="User id as in the interactions; repeatable.")
    ] = None,
    everyone: Annotated[bool, of_users("--all", help="Every user; needs --out.")] = False,
    items_from: Annotated[
        list[str] | None,
        typer.Option(help="A new user who took these items: A,B,C, or @FILE; repeatable."),
    ] = None,
    users: Annotated[
        Path | None,
        of_users(help="File of user ids: text, .csv or .parquet with user_id."),
    ] = None,
    histories: Annotated[
        Path | None,
        of_users(help="File of new users with their items: .csv or .parquet, user_id and item_id."),
    ] = None,
    k: Annotated[int, typer.Option(help="Items per user.")] = 20,
    where: Annotated[
        str | None,
        of_items(help='SQL condition over the columns of the items, such as "price < 20".'),
    ] = None,
    catalogue: Annotated[
        str | None,
        of_items(
            metavar="TABLE",
            help="Items table or dataset of what is on sale now; others are hidden.",
        ),
    ] = None,
    per: Annotated[
        str | None, of_items(metavar="COLUMN=N", help="At most N items of each value of a column.")
    ] = None,
    fallback: Annotated[
        str,
        of_items(help="Fill lists that are short: popular, with what most users took; or none."),
    ] = "none",
    diversity: Annotated[
        float, of_items(help="0 to 1: how much unlike each other the items shall be (MMR).")
    ] = 0.0,
    explain: Annotated[
        bool, of_items("--explain", help="Say which of the user's items each one is closest to.")
    ] = False,
    store: Annotated[
        list[str] | None,
        of_items(
            metavar="STORE",
            help="Vectors of --diversity and --explain; repeatable, STORE:image too.",
            show_default="those of the run",
        ),
    ] = None,
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
    device: ListDevice = "cpu",
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """The top K items of a user, of all users, or of a new user who took some items."""
    from mmx.cli.table_files import check_out
    from mmx.data.csvs.format import CsvFormat, refuse_unused
    from mmx.errors import OptionError

    user = list(dict.fromkeys(user or ()))
    some = [bool(user), everyone, items_from is not None, users is not None, histories is not None]
    if some.count(True) != 1:
        raise OptionError("give one of --user ID, --users FILE, --all, --items-from A,B,C and "
                          "--histories FILE")  # fmt: skip
    if everyone and out is None:
        raise OptionError("--all needs --out FILE.parquet")
    for option, given in (("--features", features), ("--code", code)):
        if given and not new_items:
            raise OptionError(f"{option} goes with --new-items; drop it")
    lists = [*(exclude or []), *(only or []), *(items_from or [])]
    inputs = [Path(text[1:]) for text in lists if text.startswith("@")]
    inputs += [path for path in (users, histories) if path is not None]
    csv = CsvFormat(encoding, delimiter)
    tables_read = tables_of(catalogue)
    refuse_unused(csv, [*inputs, *tables_read])
    if out is not None:
        inputs += [place for place in tables_read if isinstance(place, Path)]
        check_out(out, overwrite=overwrite, inputs=inputs)
    elif overwrite:
        raise OptionError("--overwrite goes with --out")

    from mmx.recommend.recommend_options import RecommendOptions
    from mmx.recommend.run import open_run

    without = item_lists("--exclude", exclude, csv, may_be_empty=True)
    among = item_lists("--only", only, csv)
    options = RecommendOptions(
        k, without.ids if without else [], among.ids if among else None, seen, where, catalogue,
        fallback, diversity, _cap(per), explain, tuple(store or ()), csv,
    )  # fmt: skip
    opened = open_run(run, device)
    if new_items:
        from mmx.recommend.new_items import with_new_items  # imports torch

        opened = with_new_items(opened, new_items, features or (), code=code or (), log=note)
        opened = opened.on(device)  # a closed form was solved again
    taken = item_lists("--items-from", items_from, csv, may_be_empty=fallback != "none")
    listed = user_list(users, csv)
    for part in (without, among, taken):
        if part is not None:
            part.check(opened.data.items)
    if listed is not None and fallback == "none":  # else unknown ones get what is popular
        listed.check(opened.data.users)
    with progress_bar() as bar:
        tables, asked = _lists(
            opened, options, listed.ids if listed else user or None, taken.ids if taken else None,
            histories, LazyBar(bar, "users"),
        )  # fmt: skip
        if out is not None:
            _write(tables, out, overwrite, as_json)
            return
        table = _together(tables)
    may = len(opened.data.items) if among is None else len(among.ids)
    _say_short(table, asked, min(k, may))
    _show(_described(opened, table).combine_chunks(), as_json)


def _lists(
    run: Run,
    options: RecommendOptions,
    users: list[str] | None,
    taken: list[str] | None,
    histories: Path | None,
    progress: LazyBar,
) -> tuple[Iterator[Table], list[str]]:
    """The lists, and whose they are; of all users where nobody is named."""
    from mmx.recommend import recommendation as made
    from mmx.recommend.histories import read_histories

    if taken is not None:
        return iter([made.recommend_from(run, taken, options, log=note)]), ["someone new"]
    if histories is not None:
        table = read_histories(histories, options.csv)
        found = made.recommend_histories(run, table, options, log=note, progress=progress)
        return found, list(dict.fromkeys(table["user_id"].to_pylist()))
    if users is not None:
        return made.recommend_some(run, users, options, log=note, progress=progress), users
    return made.recommend_all(run, options, log=note, progress=progress), []


def _cap(text: str | None) -> tuple[str, int] | None:
    """The column and the number of --per."""
    from mmx.errors import OptionError

    if text is None:
        return None
    column, _, most = text.rpartition("=")
    if not column or not most.isdecimal() or len(most) > DIGITS:
        raise OptionError(f"--per {text[:40]}: a column and a number are expected, such as "
                          "category=3")  # fmt: skip
    return column, int(most)


def _together(tables: Iterator[Table]) -> Table:
    from pyarrow import concat_tables

    return concat_tables(tables)


def _show(table: Table, as_json: bool) -> None:
    from mmx.cli.table_files import plain_rows, print_rows

    if as_json:
        print_rows("json", table.schema, table.to_batches())
        return
    print_table(table.column_names, [r for b in table.to_batches() for r in plain_rows(b)])


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
