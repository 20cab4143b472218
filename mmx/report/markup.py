"""HTML of texts that may hold anything: titles, ids, names of columns and of files."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

from mmx.markdown import one_line

LONGEST = 160  # characters of a text


def esc(text: object) -> str:
    """On one line, as text or inside of a quoted attribute, never as markup."""
    plain = one_line(str(text)).encode("utf-8", "replace").decode("utf-8")
    return html.escape(plain, quote=True)


def short(text: object, most: int = LONGEST) -> str:
    """The text, cut with … where it is longer; not escaped."""
    whole = one_line(str(text))
    return whole if len(whole) <= most else f"{whole[: most - 1].rstrip()}…"


def number(value: object) -> str:
    """As a reader wants it: 1,234 and 0.1234; — where there is none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "—"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> str:
    """A table whose numbers are to the right; it scrolls on its own where it is too wide."""
    numeric = [bool(rows) and all(_numeric(row[n]) for row in rows) for n in range(len(heads))]
    right = ['class="n"' if one else "" for one in numeric]
    head = "".join(
        f'<th scope="col" {kind}>{esc(name)}</th>' for name, kind in zip(heads, right, strict=True)
    )
    body = "".join(f"<tr>{_cells(row, right)}</tr>" for row in rows)
    said = f"<caption>{esc(caption)}</caption>" if caption else ""
    name = esc(caption or "table")
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{name}"><table>{said}'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cells(row: Sequence[Any], right: Sequence[str]) -> str:
    first, *others = row
    cells = [f'<th scope="row">{esc(number(first))}</th>']
    cells += [f"<td {k}>{esc(number(v))}</td>" for v, k in zip(others, right[1:], strict=True)]
    return "".join(cells)


def _numeric(value: object) -> bool:
    """Whether it is a number, or a figure with its deviation and marks."""
    if value is None or isinstance(value, (int, float)):
        return True
    return isinstance(value, str) and bool(value) and value.lstrip("+-−<")[:1].isdigit()


def note(text: str) -> str:
    """A paragraph of small print, of plain text."""
    return f'<p class="note">{esc(text)}</p>'


def absent(what: str, option: str) -> str:
    """What stands where a part cannot be drawn: what is missing, and the option that gives it."""
    return f'<p class="absent">{esc(what)} <code>{esc(option)}</code></p>'
