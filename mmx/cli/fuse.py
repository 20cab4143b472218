"""``mmx fuse``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmx.cli.output import AsJson, Debug, Quiet, note, progress_bar
from mmx.cli.train_output import print_run


def fuse(
    runs: Annotated[list[Path], typer.Argument(help="Run directories of one dataset and split.")],
    out: Annotated[
        Path | None, typer.Option(help="Run directory. Default: runs/fusion-NAMES.")
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Draws the validation users, where there are over 20,000.")
    ] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run at --out.")] = (
        False
    ),
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Combine finished runs into one: a weighted sum, the weights learned on validation."""
    from mmx.recommend.fuse import fuse as combine

    with progress_bar() as bar:
        bar.add_task("learning weights", total=None)
        ensemble = combine(runs, out, overwrite=overwrite, seed=seed)
    print_run(ensemble, as_json)
    if not ensemble.metrics["counts"]["valid_users"]:
        note("  no validation user has training interactions: all runs get the same weight")
    for part in ensemble.config["parts"]:
        note(f"  {part['weight']:.2f} × {part['run']}")
