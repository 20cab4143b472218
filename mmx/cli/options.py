"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

Encoding = Annotated[
    str | None,
    typer.Option(help="Of CSV files: latin-1, cp1252, utf-16 …", show_default="utf-8"),
]
Delimiter = Annotated[
    str | None,
    typer.Option(help="Between the cells of CSV files: ';', '|', tab …", show_default="','"),
]
