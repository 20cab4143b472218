"""``mmx import`` and ``mmx export``: datasets in the files of others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmx.cli.options import AllowPrivate, Delimiter, Encoding, of_input, of_output, of_training
from mmx.cli.output import AsJson, Debug, Quiet, keeps, note, print_json, progress_bar

if TYPE_CHECKING:
    from mmx.data.formats.importing import Imported
    from mmx.recommend.exporting import ExportReport

Overwrite = Annotated[
    bool, of_output("--overwrite", help="Replace what an earlier run of this command wrote.")
]


def import_(
    format_: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT", help="amazon, csv, microlens, mmrec, movielens or recbole."
        ),
    ],
    sources: Annotated[
        list[Path], typer.Argument(metavar="SOURCE…", help="Files, their folder or a zip archive.")
    ],
    out: Annotated[Path, of_output(help="Dataset directory to write.")],
    columns: Annotated[
        list[str] | None,
        of_input(help="What columns are called: item_id=sku,text=title; repeatable."),
    ] = None,
    text: Annotated[
        str | None,
        of_input(
            help='Template of the column text: "{title}. {brand}".', show_default="the format's own"
        ),
    ] = None,
    min_rating: Annotated[float | None, of_input(help="Least rating that counts.")] = None,
    duplicates: Annotated[
        str, of_input(help="Of a pair of user and item keep the earliest, the latest or all.")
    ] = "earliest",
    k_core: Annotated[
        int, of_input(help="Fewest interactions of a user and of an item that stay in.")
    ] = 0,
    all_items: Annotated[
        bool, of_input("--all-items", help="Keep items without an interaction, too.")
    ] = False,
    encoder: Annotated[
        str | None,
        of_input(help="mmrec: what made the features.", show_default="MMRec and the folder's name"),
    ] = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    skip_bad_lines: Annotated[
        bool, of_input("--skip-bad-lines", help="Leave out and count lines that cannot be read.")
    ] = False,
    max_size: Annotated[
        float, of_input(help="Largest size of a gzip or zip file when it is unpacked, in GiB.")
    ] = 64,
    pictures: Annotated[
        bool, of_output("--pictures", help="Then download the pictures into the directory.")
    ] = False,
    allow_private: AllowPrivate = False,
    license_: Annotated[
        str | None, of_output("--license", help="The licence of the source, for the record.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Make a dataset directory of the files of other tools and of public dumps."""
    from mmx.cli.data import fetch_pictures
    from mmx.data.csvs.format import CsvFormat
    from mmx.data.formats.options import ImportOptions, parse_columns
    from mmx.errors import OptionError
    from mmx.extract.sources.web import Web
    from mmx.recommend.dataset_api import import_dataset

    if allow_private and not pictures:
        raise OptionError("--allow-private goes with --pictures")
    csv = CsvFormat(encoding, delimiter)
    options = ImportOptions(
        k_core=k_core, min_rating=min_rating, duplicates=duplicates, all_items=all_items,
        text=text, columns=parse_columns(columns or []), csv=csv,
        skip_bad_lines=skip_bad_lines, max_size=max_size, license=license_,
    )  # fmt: skip
    keeps("nothing was written; run it again")
    with _drawing() as progress:
        done = import_dataset(
            format_, sources, out, options, encoder=encoder, overwrite=overwrite,
            progress=progress, log=note,
        )  # fmt: skip
    _say_imported(done)
    if pictures:
        done.extra["pictures"] = fetch_pictures(out, Web(allow_private=allow_private)).as_dict()
    if as_json:
        print_json(done.as_dict())


def export(
    data: Annotated[str, typer.Argument(help="Dataset directory, or its items table.")],
    to: Annotated[str, of_output(help="mmrec or recbole.")],
    out: Annotated[Path, of_output(help="Folder to write; its name is that of the data set.")],
    features: Annotated[
        list[str] | None,
        of_input(help="Store, or STORE:image,text for some of its modalities; repeatable."),
    ] = None,
    split: Annotated[
        str | None,
        of_training(
            help="given, random, leave-one-out or temporal; auto: given, else random.",
            show_default="auto; recbole: given where there is one, else none",
        ),
    ] = None,
    min_rating: Annotated[float | None, of_training(help="Least rating that counts.")] = None,
    k_core: Annotated[
        int, of_training(help="Fewest interactions of a user and of an item that stay in.")
    ] = 0,
    seed: Annotated[int, of_training(help="Of the split.")] = 0,
    unknown_items: Annotated[
        str, of_input(help="Interactions with items that are not in the table: error or drop.")
    ] = "error",
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a dataset, and features of its items, in the files of MMRec or RecBole."""
    from mmx.data.csvs.format import CsvFormat
    from mmx.data.splits import SplitRule
    from mmx.recommend.dataset_api import export as write

    rule = None
    if split is not None or min_rating is not None or k_core or seed:
        rule = SplitRule(split or "auto", min_rating, k_core, seed)  # type: ignore[arg-type]
    keeps("nothing was written; run it again")
    done = write(
        data, to, out, features or (), split=rule, unknown_items=unknown_items,
        csv=CsvFormat(encoding, delimiter), overwrite=overwrite, log=note,
    )  # fmt: skip
    if as_json:
        print_json(done.as_dict())
    _say_exported(done)


def _say_imported(done: Imported) -> None:
    for what in done.left_out:
        note(str(what))
    if done.repeated_items:
        note(f"items that were there before: {done.repeated_items:,} rows left out")
    if done.without_metadata:
        note(f"{done.without_metadata:,} items are known from interactions only")
    if done.bad_lines:
        note(f"left out {done.bad_lines:,} bad lines; the first: {done.first_bad}")
    if "store" in done.extra:
        note(f"{done.out / done.extra['store']}: {done.extra['rows']:,} rows")
    note(
        f"{done.out}: {done.interactions:,} interactions of {done.users:,} users with "
        f"{done.items:,} items"
    )


def _say_exported(done: ExportReport) -> None:
    for what in done.left_out:
        note(str(what))
    if done.items_left_out:
        note(f"{done.items_left_out:,} items without an interaction are left out")
    if done.columns_left_out:
        note(f"columns left out: {', '.join(done.columns_left_out)}")
    for modality, count in done.missing.items():
        if count:
            note(f"{count:,} items have no {modality} vector")
    note(
        f"{done.out}: {done.interactions:,} interactions of {done.users:,} users with "
        f"{done.items:,} items"
    )


@contextmanager
def _drawing() -> Iterator[Callable[[int, int], None]]:
    """A progress callback that draws a bar, in MiB."""
    with progress_bar() as bar:
        task = bar.add_task("reading (MiB)", total=None)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=-(-done >> 20), total=-(-total >> 20))

        yield progress
