"""``mmx run forget-user``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmx.cli.output import AsJson, Debug, Quiet, note, print_json

app = typer.Typer(help="Change a finished run.", no_args_is_help=True)


@app.callback()
def runs() -> None:
    """Change a finished run."""


@app.command(name="forget-user")
def forget_user(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    user: Annotated[str, typer.Argument(help="User id as in the interactions.")],
    code: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="mine.py or a module, if the run's model is in it."),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Remove a user from all files of a run; the lists of the others stay as they are."""
    from mmx.recommend.forgetting import forget_user as forget

    count = forget(run, user, code=code or ())
    note(f"{run}: the user is in none of its files any more; {count} forgotten in all")
    if as_json:
        print_json({"run": str(run), "forgotten_users": count})
