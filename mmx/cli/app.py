"""All commands under one name. Each lives in the file of its subject."""

from __future__ import annotations

from typing import Annotated

import typer

from mmx import __version__
from mmx.cli import (
    compare,
    data,
    demo,
    doctor,
    evaluate,
    extract,
    finetune,
    fuse,
    importing,
    inspect,
    models,
    recommend,
    report,
    reproduce,
    runs,
    search,
    serve,
    sql,
    store,
    train,
)
from mmx.cli.grouped import GroupedCommand

app = typer.Typer(
    name="mmx",
    help="Multimodal recommendation: encode a catalogue once, query it, train and measure.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mmx {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Encode item images and texts, query the embeddings, train recommenders, get top-K."""


for command in (
    demo.demo,
    doctor.doctor,
    extract.extract,
    extract.encoders,
    finetune.finetune,
    inspect.info,
    sql.sql,
    train.train,
    fuse.fuse,
    evaluate.evaluate,
    compare.compare,
    models.models,
    recommend.recommend,
    report.report,
    search.search,
    search.similar,
    search.duplicates,
    serve.serve,
    reproduce.reproduce,
):
    app.command(cls=GroupedCommand)(command)

app.command(name="import", cls=GroupedCommand)(importing.import_)
app.command(cls=GroupedCommand)(importing.export)
app.add_typer(data.app, name="data")
app.add_typer(store.app, name="store")
app.add_typer(runs.app, name="run")
