"""``mmx compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmx.cli.output import Debug, Quiet, note, print_table, progress_bar

if TYPE_CHECKING:
    from mmx.experiments.comparison import Comparison

FORMATS = ("table", "markdown", "latex", "csv", "json")


def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Run directories of one dataset and split rule.")
    ],
    against: Annotated[
        str | None,
        typer.Option(
            help="Compare with this arm, run or model; best-baseline: the best on validation "
            "without features.",
            show_default="best-baseline, else the first run's arm",
        ),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            help="Metrics, as recall@20,mrr@10; repeatable.",
            show_default="recall@10,ndcg@10,recall@20,ndcg@20",
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="table, markdown, latex, csv or json.",
            show_default="the suffix of --out, else table",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write it to a file: .md, .tex, .csv, .json or .txt.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As --format json.")] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Compare finished runs: means over seeds and splits, gains, intervals and paired tests.

    Runs that differ in seed or split seed only are repetitions of one arm.
    """
    from mmx.cli.formats import chosen_format
    from mmx.cli.text_files import check_text_out, write_text_out
    from mmx.errors import OptionError
    from mmx.experiments.comparison import compare_runs

    form = chosen_format(form, FORMATS, out, as_json)
    if out is not None:
        check_text_out(out, overwrite=overwrite)
    elif overwrite:
        raise OptionError("--overwrite goes with --out")
    named = [name.strip() for text in metrics or () for name in text.split(",") if name.strip()]
    with progress_bar() as bar:
        task = bar.add_task("reading runs", total=len(runs))
        found = compare_runs(
            runs,
            to=against,
            metrics=None if metrics is None else named,
            progress=lambda done: bar.update(task, completed=done),
        )
    if out is not None:
        write_text_out(out, _text(found, form), overwrite=overwrite)
        note(f"{out}: {len(found.arms)} arms")
    elif form == "table":
        _print(found)
    else:
        print(_text(found, form), end="")
    for line in found.notes:
        note(line)


def _text(found: Comparison, form: str) -> str:
    from mmx.experiments import comparison_text as texts

    writers = {"markdown": texts.to_markdown, "latex": texts.to_latex, "csv": texts.to_csv,
               "json": texts.to_json, "table": texts.to_markdown}  # fmt: skip
    return writers[form](found)


def _print(found: Comparison) -> None:
    from mmx.experiments.comparison_text import differences, legend, means

    for title, rows in (("Test metrics", means(found)), ("Differences", differences(found))):
        if rows:
            print_table(list(rows[0]), [list(row.values()) for row in rows], title)
    note(legend(found))
