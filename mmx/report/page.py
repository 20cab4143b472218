"""The page around the parts of a report: one file, its style inside, no script, nothing fetched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from mmx.report.markup import esc

FIRST = "<!doctype html><!-- mmx report -->"  # by which one is known where files carry no marks
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@dataclass(frozen=True)
class Section:
    """A part with a heading; ``body`` is HTML, the rest plain text."""

    key: str  # what links name
    title: str
    lead: str
    body: str


def page(title: str, lead: str, tiles: Sequence[tuple[str, str]], parts: Sequence[Section]) -> str:
    """The whole document. ``tiles`` are pairs of a figure and what it is."""
    style = files("mmx.report").joinpath("style.css").read_text(encoding="utf-8")
    links = "".join(f'<li><a href="#{part.key}">{esc(part.title)}</a></li>' for part in parts)
    figures = "".join(
        f'<div class="tile"><b>{esc(value)}</b><span>{esc(what)}</span></div>'
        for value, what in tiles
    )
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{esc(title)}</title><style>{style}</style>"
    )
    return (
        f'{FIRST}\n<html lang="en"><head>{head}</head><body>'
        f'<header class="top"><h1>{esc(title)}</h1><p class="lead">{esc(lead)}</p>'
        f'<div class="tiles">{figures}</div>'
        f'<nav aria-label="Parts of this report"><ol>{links}</ol></nav></header>'
        f"<main>{''.join(map(_section, parts))}</main>"
        f"<footer>Made by mmx {esc(_version())}. This file needs nothing else: no network, no "
        "script.</footer></body></html>\n"
    )


def _section(part: Section) -> str:
    lead = f'<p class="lead">{esc(part.lead)}</p>' if part.lead else ""
    head = f'<h2 id="{part.key}-title">{esc(part.title)}</h2>{lead}'
    return (f'<section id="{part.key}" aria-labelledby="{part.key}-title">{head}{part.body}'
            "</section>")  # fmt: skip


def _version() -> str:
    from mmx import __version__

    return __version__
