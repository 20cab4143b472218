"""``mmx serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmx.cli.options import Device, Fetch, StoreWeights, of_encoder, of_input
from mmx.cli.output import Debug, Quiet, note

of_network = "Network"


def serve(
    run: Annotated[
        list[Path], typer.Argument(help="Run directory; the first answers where none is named.")
    ],
    store: Annotated[
        list[str] | None,
        of_input(help="Store to search; repeatable.", show_default="those of the first run"),
    ] = None,
    data: Annotated[
        str | None,
        of_input(help="Dataset: its items alone are shown, with its pictures and columns.",
                 show_default="the run's items, pictures of its dataset"),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen at.", rich_help_panel=of_network)
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port; 0: any that is free.", rich_help_panel=of_network)
    ] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="MMX_TOKEN", show_envvar=True, rich_help_panel=of_network,
            help="What requests must carry; needed for any --host but loopback.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", rich_help_panel=of_network,
            help="Name by which the server is reached, as behind a proxy; repeatable.",
        ),
    ] = None,
    mcp: Annotated[
        bool, typer.Option("--mcp", rich_help_panel=of_network, help="Tools for agents at /mcp.")
    ] = False,
    model: Annotated[
        str | None,
        of_encoder(help="What made the store, as `mmx search --model` takes it.",
                   show_default="what the store says"),
    ] = None,
    weights: StoreWeights = None,
    fetch: Fetch = False,
    device: Device = "auto",
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    """Serve recommendations, search, pictures and a page of runs over HTTP."""
    from mmx.errors import OptionError
    from mmx.serve.options import ServeOptions

    encoder = {"model": model, "weights": weights, "fetch": fetch, "device": device}
    options = ServeOptions(
        tuple(run), tuple(store or ()), data, host, port, token, tuple(allow_host or ()), mcp,
        encoder,
    )  # fmt: skip
    try:
        from mmx.serve.server import serve as start
    except ModuleNotFoundError as error:
        raise OptionError(f"{error.name} is not installed; pip install 'mmx[serve]'") from error
    start(options, note)
