"""``mmx data check | pictures``: look at a dataset, and complete it, before it is used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmx.cli.dataset import chosen_data
from mmx.cli.grouped import GroupedCommand
from mmx.cli.options import (
    AllowPrivate,
    At,
    Connections,
    Delimiter,
    Encoding,
    Fold,
    Folds,
    Images,
    MaxImageMib,
    PerHost,
    Split,
    Targets,
    of_input,
    of_output,
)
from mmx.cli.output import (
    AsJson,
    Debug,
    Quiet,
    keeps,
    note,
    print_json,
    print_table,
    progress_bar,
)

if TYPE_CHECKING:
    from mmx.extract.downloading import Downloaded

app = typer.Typer(help="Check a dataset; download its pictures.", no_args_is_help=True)
FORMATS = ("text", "json")


@app.command(cls=GroupedCommand)
def check(
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="[DIR]",
            help="Dataset directory, items table or tar shards.",
            show_default="$MMX_DATA, else this folder, else ./data",
        ),
    ] = None,
    images: Images = None,
    pictures: Annotated[
        bool, of_input("--pictures/--no-pictures", help="Whether to read the pictures.")
    ] = True,
    split: Split = "auto",
    at: At = None,
    targets: Targets = "all",
    folds: Folds = 0,
    fold: Fold = 0,
    seed: Annotated[int, of_input(help="Of the split.")] = 0,
    min_rating: Annotated[float | None, of_input(help="Least rating that counts.")] = None,
    k_core: Annotated[
        int, of_input(help="Fewest interactions of a user and of an item that stay in.")
    ] = 0,
    unknown_items: Annotated[
        str, of_input(help="Interactions with items that are not in the table: drop or error.")
    ] = "drop",
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    source: Annotated[
        str | None,
        of_output(help="Card: where the dataset is from.", show_default="what was imported"),
    ] = None,
    license_: Annotated[
        str | None,
        of_output("--license", help="Card: the dataset's licence.", show_default="of the import"),
    ] = None,
    out: Annotated[
        Path | None, of_output(help="Write a dataset card: .md or .json, such as DIR/dataset.md.")
    ] = None,
    overwrite: Annotated[bool, of_output("--overwrite", help="Replace the card.")] = False,
    form: Annotated[str, of_output("--format", help="text or json.")] = "text",
    as_json: Annotated[bool, of_output("--json", help="As --format json.")] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Count what is missing, twice or leaked in a dataset; write its card.

    The split is the one that `mmx train` makes with the same options.
    """  # fmt: skip
    from mmx.cli.text_files import check_text_out, write_text_out
    from mmx.data.checks import card as cards
    from mmx.data.csvs.format import CsvFormat
    from mmx.data.splits import SplitRule
    from mmx.errors import OptionError, one_of
    from mmx.extract.checking.check import DataCheck, check_dataset

    one_of("--format", form, FORMATS)
    if out is None and overwrite:
        raise OptionError("--overwrite goes with --out")
    if out is not None:
        if out.suffix not in cards.SUFFIXES:
            raise OptionError(f"--out {out}: a name that ends in .md or .json is expected")
        check_text_out(out, overwrite=overwrite)
    what = DataCheck(
        chosen_data(data),
        SplitRule(split, min_rating, k_core, seed, at, targets, folds, fold),  # type: ignore[arg-type]
        images, unknown_items, CsvFormat(encoding, delimiter), pictures, source, license_,
    )  # fmt: skip
    with progress_bar() as bar:
        task = bar.add_task("reading", total=None)
        report = check_dataset(
            what,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
            stage=lambda name: bar.update(task, description=name),
        )
    if out is not None:
        text = cards.as_markdown(report) if out.suffix == ".md" else cards.as_json(report)
        write_text_out(out, text, overwrite=overwrite)
        note(f"{out}: the dataset card")
    if as_json or form == "json":
        print_json(report)
        return
    _print(report)


def _print(report: dict[str, Any]) -> None:
    from mmx.data.checks.card import sections

    for title, rows in sections(report):
        shown = [[name, f"{v:,}" if isinstance(v, int) else v] for name, v in rows]
        print_table(["what", "found"], shown, title)


@app.command(cls=GroupedCommand)
def pictures(
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="[DIR]",
            help="Dataset directory that `mmx import` wrote.",
            show_default="$MMX_DATA, else this folder, else ./data",
        ),
    ] = None,
    retry_failed: Annotated[
        bool, of_input("--retry-failed", help="Try those again that failed before.")
    ] = False,
    connections: Connections = 32,
    per_host: PerHost = 4,
    max_image_mib: MaxImageMib = 20,
    allow_private: AllowPrivate = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Download the pictures of an imported dataset into its folder.

    A killed download continues with the same command.
    """  # fmt: skip
    from mmx.bounds import check as within
    from mmx.bounds import whole
    from mmx.extract.sources.web import LARGEST, Web

    within("--max-image-mib ", max_image_mib, whole(1, LARGEST))
    web = Web(connections, per_host, max_bytes=max_image_mib << 20, allow_private=allow_private)
    done = fetch_pictures(Path(chosen_data(data)), web, retry_failed)
    if as_json:
        print_json(done.as_dict())


def fetch_pictures(folder: Path, web: Any, retry_failed: bool = False) -> Downloaded:
    """Download with a progress bar, and say what came of it."""
    from mmx.cli.dataset import command
    from mmx.extract.downloading import download_pictures

    again = command("mmx", "data", "pictures", str(folder))
    keeps(f"pictures that are there stay; `{again}` continues")
    with progress_bar() as bar:
        task = bar.add_task("pictures", total=None)
        done = download_pictures(
            folder, web, retry_failed=retry_failed,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )  # fmt: skip
    if not done.pictures:
        note(f"{folder}: no item has a picture on the web")
        return done
    failed = sum(done.failed.values())
    note(
        f"{folder}: {done.pictures - failed:,} of {done.pictures:,} pictures are there, "
        f"{done.fetched:,} of them new"
    )
    if failed:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in done.failed.items())
        note(f"{failed:,} failed: {reasons}; `{again} --retry-failed` tries them again")
    return done
