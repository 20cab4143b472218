"""Options that several commands have, and the headings of the help that they are under."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

of_input = partial(typer.Option, rich_help_panel="Input")
of_encoder = partial(typer.Option, rich_help_panel="Encoder")
of_joint = partial(typer.Option, rich_help_panel="End to end")
of_training = partial(typer.Option, rich_help_panel="Training")
of_speed = partial(typer.Option, rich_help_panel="Speed and devices")
of_web = partial(typer.Option, rich_help_panel="Web")
of_shown = partial(typer.Option, rich_help_panel="What is measured")
of_users = partial(typer.Option, rich_help_panel="Users")
of_items = partial(typer.Option, rich_help_panel="Items")
of_output = partial(typer.Option, rich_help_panel="Output")

Data = Annotated[
    str | None,
    of_input(
        help="Dataset directory, items table or tar shards; path or URL.",
        show_default="$MMX_DATA, else this folder, else ./data",
    ),
]
Images = Annotated[
    str | None, of_input(help="Folder of the pictures, if not next to the items table.")
]
Encoding = Annotated[
    str | None, of_input(help="Of CSV files: latin-1, cp1252, utf-16 …", show_default="utf-8")
]
Delimiter = Annotated[
    str | None, of_input(help="Between the cells of CSV files: ';', '|', tab …", show_default="','")
]
AllowPrivate = Annotated[
    bool,
    of_web("--allow-private", help="Also fetch pictures from private addresses (localhost, 10.…)."),
]
Connections = Annotated[int, of_web(help="Pictures fetched at once.")]
PerHost = Annotated[int, of_web(help="Pictures fetched at once from one host.")]
MaxImageMib = Annotated[int, of_web(help="Largest picture that is fetched, in MiB.")]
Device = Annotated[str, of_speed(help="cpu, cuda, cuda:1; auto: a CUDA GPU where there is one.")]
ListDevice = Annotated[
    str,
    of_speed(help="Of a run's embeddings, for many users: cpu, cuda, cuda:1; auto: a CUDA GPU."),
]
StoreWeights = Annotated[
    Path | None, of_encoder(help="Weights file or folder that the store was made with.")
]
Fetch = Annotated[
    bool, of_encoder("--fetch", help="Download the encoder's weights if they are not here.")
]
Split = Annotated[
    str,
    of_input(
        help="given, random, leave-one-out, temporal, users or cold-items; auto: given, else "
        "random."
    ),
]
At = Annotated[
    str | None,
    of_input(
        help="Point of --split temporal, cold-items: DATE, timestamp or SHARE; of users: SHARE.",
        show_default="0.9",
    ),
]
Targets = Annotated[
    str, of_input(help="temporal: which of a user's held-out interactions count: all, first, last.")
]
Folds = Annotated[
    int, of_input(help="So many folds of --split random, users or cold-items; 0: no folds.")
]
Fold = Annotated[int, of_input(help="Which of --folds is the test, from 0.")]
MinRating = Annotated[float | None, of_input(help="Least rating that counts.")]
KCore = Annotated[int, of_input(help="Fewest interactions of a user and of an item that stay in.")]


def whole_or_auto(name: str, text: str) -> int | None:
    """The number that an option has; None for auto. Raises OptionError."""
    from mmx.errors import OptionError

    try:
        return None if text == "auto" else int(text)
    except ValueError:
        raise OptionError(f"--{name} {text}: a whole number or auto is expected") from None
