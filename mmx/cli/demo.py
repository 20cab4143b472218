"""``mmx demo``: the whole job on the embedded sample, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmx.cli.output import Debug, Quiet


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the sample, its store and runs.")] = (
        Path("demo")
    ),
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Draw a sample catalogue, encode it, train with and without features, recommend."""
    raise NotImplementedError(out)
