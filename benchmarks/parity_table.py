"""The tables of ``parity.py``, from the figures that it writes. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def markdown(found: dict[str, Any]) -> Iterator[str]:
    """The tables of what ``--json`` writes, as the zoo page has them."""
    yield "| model | scores, loss, gradients as released | differences | without them | equal |"
    yield "| --- | --- | --- | --- | --- |"
    for row in found["models"]:
        numbers = ", ".join(row["alone"]) or "none"
        verdict = "yes" if row["fine"] else "**no**"
        yield (f"| `{row['model']}` | {shown(row['released'])} | {numbers} "
               f"| {shown(row['without'])} | {verdict} |")  # fmt: skip
    yield ""
    yield "| difference | what it is | left in alone: scores, loss, gradients |"
    yield "| --- | --- | --- |"
    for number, what in found["differences"].items():
        made = [f"`{row['model']}` {shown(row['alone'][number])}"
                for row in found["models"] if number in row["alone"]]  # fmt: skip
        if made:
            yield f"| {number} | {what} | {'; '.join(made)} |"


def shown(deltas: dict[str, Any]) -> str:
    """The three figures, as 2e-09."""
    figures = (deltas[name] for name in ("scores", "loss", "gradients"))
    return ", ".join(
        "-" if figure is None else f"{figure:.0e}" if figure else "0" for figure in figures
    )
