"""``mmx report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmx.cli.options import of_input, of_output, of_shown
from mmx.cli.output import AsJson, Debug, Quiet, note, print_json, progress_bar


def report(
    paths: Annotated[
        list[str], typer.Argument(help="Runs of one dataset, or stores.", metavar="RUN|STORE...")
    ],
    out: Annotated[Path, of_output(help="The page to write, .html.")] = Path("report.html"),
    overwrite: Annotated[bool, of_output("--overwrite", help="Replace --out.")] = False,
    data: Annotated[
        str | None,
        of_input(
            help="Dataset whose pictures are shown.", show_default="the one the first run names"
        ),
    ] = None,
    store: Annotated[
        list[str] | None,
        of_input(
            help="Store for the map, reasons and health; repeatable.",
            show_default="those of the first run",
        ),
    ] = None,
    user: Annotated[
        list[str] | None,
        of_shown(help="Example user; repeatable.", show_default="--users at random"),
    ] = None,
    users: Annotated[int, of_shown(help="Example users drawn at random.")] = 4,
    mistakes: Annotated[int, of_shown(help="Confident mistakes shown.")] = 6,
    column: Annotated[
        str | None,
        of_shown(help="Column that colours the map.", show_default="category, or one like it"),
    ] = None,
    modality: Annotated[
        str | None,
        of_shown(help="Vectors of the map.", show_default="image, else the first"),
    ] = None,
    seed: Annotated[int, of_shown(help="Of what is drawn at random.")] = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write one page of finished runs, or of a store: charts, tables, pictures.

    It needs no other file, no network and no script.
    """
    from mmx.cli.text_files import check_text_out, write_text_out
    from mmx.errors import OptionError

    if out.suffix.lower() not in (".html", ".htm"):
        raise OptionError(f"--out {out}: a name that ends in .html is expected")
    check_text_out(out, overwrite=overwrite)

    from mmx.report.build import ReportOptions
    from mmx.report.build import report as build

    options = ReportOptions(
        data, store or (), column, modality, user or (), users, mistakes, seed
    )  # fmt: skip
    with progress_bar() as bar:
        task = bar.add_task("reading", total=len(paths))
        text = build(
            paths, options, lambda done, total: bar.update(task, completed=done, total=total), note
        )
    write_text_out(out, text, overwrite=overwrite)
    size = out.stat().st_size
    if as_json:
        print_json({"report": str(out), "bytes": size})
        return
    note(f"{out}: {size / 1e6:.1f} MB; open it in a browser")
