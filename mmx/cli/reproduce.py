"""``mmx reproduce``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmx.cli.output import (
    AsJson,
    Debug,
    Quiet,
    complain,
    keeps,
    note,
    print_json,
    print_table,
    progress_bar,
)
from mmx.cli.output import settings as terminal

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from mmx.experiments.outcome import GridProgress
    from mmx.experiments.report import Report


def reproduce(
    plan: Annotated[Path, typer.Argument(help="Plan, a YAML file; see plans/.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for everything. Default: runs/PLAN.")
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option(help="NAME=DIR: where a dataset is; repeatable.")
    ] = None,
    base: Annotated[
        Path | None, typer.Option(help="Folder where the plan's relative paths start, not its own.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Run only cells whose names match this pattern; repeatable."),
    ] = None,
    code: Annotated[
        list[str] | None,
        typer.Option(help="File or module of your own that the plan may run; repeatable."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda …, instead of the plan's.")] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Also run cells again whose process died twice.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the cells and which are finished; run nothing.")
    ] = False,
    tables: Annotated[
        bool, typer.Option("--tables", help="Tables of what is finished so far; run nothing.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Run a plan: datasets, features, recommenders, seeds; tables with paired tests.

    The same command again does what is missing. A cell that fails stops no other.
    """
    from mmx.experiments.grid import Grid
    from mmx.experiments.plan import load_plan
    from mmx.experiments.report import WORDS, legend, report
    from mmx.own.code import as_codes

    read = load_plan(plan, data=_directories(data or []), base=base)
    out = out or Path("runs") / plan.stem
    grid = Grid(
        read, out, tuple(only) if only else "*", device, retry_failed, code=as_codes(code or ())
    )
    if dry_run:
        _show("", grid.listing(), as_json)
        return
    keeps("finished cells are kept and the same command continues")
    with progress_bar("state") as bar:
        grid.progress = _drawer(bar)
        outcome = grid.gather() if tables else grid.run()
    made = report(grid, outcome)
    if as_json:
        print_json({"out": str(out), **asdict(made)})
    elif tables or not terminal.quiet:
        _print(made)
        note(legend(read, outcome.finished))
        for line in (*((WORDS, *made.words) if made.words else ()), *made.search_words):
            note(line)
        note(f"{len(made.results)} runs in {out}; {out / 'table.md'}")
    for failure in made.failures:
        complain(f"{failure['cell']}: {failure['reason']}")
    if made.failures:
        again = "" if tables else "; the same command tries them again"
        note(f"{len(made.failures)} failed{again}")
        raise typer.Exit(1)


def _directories(texts: list[str]) -> dict[str, Path]:
    from mmx.errors import OptionError

    pairs = [text.partition("=") for text in texts]
    for name, equals, directory in pairs:
        if not (equals and name and directory):
            raise OptionError(f"--data {name}{equals}{directory}: NAME=DIR is expected")
        if [other for other, _, _ in pairs].count(name) > 1:
            raise OptionError(f"--data {name}= is given twice; drop one")
    return {name: Path(directory) for name, _, directory in pairs}


def _print(made: Report) -> None:
    for title, rows in (
        ("Search, by validation", made.searches),
        ("Results", made.table),
        ("Embeddings: alignment and uniformity, lower is better", made.embeddings),
        ("Cost of a run", made.cost),
    ):
        if rows:
            _show(title, rows, False)


def _show(title: str, rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json(rows)
    else:
        print_table(list(rows[0]), [list(row.values()) for row in rows], title, decimals=4)


def _drawer(bar: Bar) -> Callable[[GridProgress], None]:
    task = bar.add_task("runs", total=None, state="")

    def draw(state: GridProgress) -> None:
        failed = f"  {state.failed} failed" if state.failed else ""
        text = f"{state.cell}  {state.detail}{failed}"
        bar.update(task, completed=state.done, total=state.total, state=text)

    return draw
