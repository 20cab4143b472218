"""Charts as inline SVG: lines, bars, intervals. No script, no style but classes of the page.

A chart is drawn 360 wide, so that its letters can be read on a phone; a wide page has several
beside each other. Series differ in colour, and lines in dashes as well. Names and labels may be
any text. Each chart says in words what it shows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmx.report.markup import esc, short

WIDTH, HEIGHT = 360, 230
LEFT, RIGHT, TOP, BOTTOM = 54, 10, 10, 42
SERIES = 8  # with a colour of their own
POINTS = 300  # of a line; of more, so many are drawn


@dataclass(frozen=True)
class Scale:
    """From values to places on the page."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The place of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


@dataclass(frozen=True)
class Line:
    """A series of points, from left to right."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    mark: float | None = None  # where on x a point is emphasised


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About ``count`` round numbers from at most ``low`` to at least ``high``."""
    if not math.isfinite(low) or not math.isfinite(high) or high <= low:
        low, high = (0.0, 1.0) if not math.isfinite(low) else (low, low + (abs(low) or 1.0))
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(n for n in (1, 2, 2.5, 5, 10) if n * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [n * step for n in range(first, last + 1)]


def chart(title: str, svg: str, names: Sequence[str] = (), more: str = "") -> str:
    """A figure: its title, the drawing, whose colour is what, and a line of small print."""
    items = "".join(
        f'<li><span class="key s{n % SERIES}"></span>{esc(short(name, 60))}</li>'
        for n, name in enumerate(names)
    )
    legend = f'<ul class="legend">{items}</ul>' if len(names) > 1 else ""
    said = f'<p class="note">{esc(more)}</p>' if more else ""
    return (
        f'<figure class="chart"><figcaption>{esc(title)}</figcaption>{svg}{legend}{said}</figure>'
    )


def lines(series: Sequence[Line], x: str, y: str, *, zero: bool = True) -> str:
    """Lines over one x axis; ``zero``: the y axis begins there."""
    drawn = [_finite(one) for one in series]
    xs = [v for one in drawn for v in one.x] or [0.0, 1.0]
    ys = [v for one in drawn for v in one.y] or [0.0, 1.0]
    across = ticks(min(xs), max(xs), 5)
    up = ticks(min(0.0, *ys) if zero else min(ys), max(ys), 4)
    to_x = Scale(min(xs), max(*xs, min(xs) + 1e-9), LEFT, WIDTH - RIGHT)
    to_y = Scale(up[0], up[-1], HEIGHT - BOTTOM, TOP)
    inner = [t for t in across if to_x.low <= t <= to_x.high]
    parts = [_axes(to_x, to_y, [(t, _said(t)) for t in inner], up, x, y)]
    for place, one in enumerate(drawn):
        points = " ".join(f"{to_x(a):.1f},{to_y(b):.1f}" for a, b in zip(one.x, one.y, strict=True))
        parts.append(f'<polyline class="line s{place % SERIES}" points="{points}"/>')
        if one.mark is not None and one.mark in one.x:
            at = list(one.x).index(one.mark)
            where = f'cx="{to_x(one.mark):.1f}" cy="{to_y(one.y[at]):.1f}"'
            parts.append(f'<circle class="dot s{place % SERIES}" {where} r="4"/>')
    return _svg(parts, f"{y} over {x}. " + "; ".join(map(_in_words, drawn)))


def bars(groups: Sequence[str], series: Mapping[str, Sequence[float]], x: str, y: str) -> str:
    """Upright bars: of each group one for each series; NaN leaves a gap."""
    values = [v for row in series.values() for v in row if math.isfinite(v)]
    up = ticks(min(0.0, *values, 0.0), max(*values, 0.0, 0.0) or 1.0, 4)
    to_y = Scale(up[0], up[-1], HEIGHT - BOTTOM, TOP)
    room = (WIDTH - LEFT - RIGHT) / max(len(groups), 1)
    to_x = Scale(0, 1, LEFT, LEFT + room)  # group numbers
    step = max(
        1, math.ceil(len(groups) / max(1, 300 // (6 * max(map(len, groups), default=1) + 8)))
    )
    labels = [(n + 0.5, short(g, 16)) for n, g in enumerate(groups) if n % step == 0]
    parts = [_axes(to_x, to_y, labels, up, x, y)]
    wide = room * 0.8 / max(len(series), 1)
    for place, row in enumerate(series.values()):
        for group, value in enumerate(row):
            if not math.isfinite(value):
                continue
            left = to_x(group + 0.1) + place * wide
            top, foot = sorted((to_y(value), to_y(0)))
            size = f'width="{max(wide - 0.5, 0.5):.1f}" height="{max(foot - top, 0.4):.1f}"'
            parts.append(
                f'<rect class="bar s{place % SERIES}" x="{left:.1f}" y="{top:.1f}" {size}/>'
            )
    words = [
        f"{name}: " + ", ".join(f"{g} {_said(v)}" for g, v in zip(groups, row, strict=True))
        for name, row in series.items()
    ]
    return _svg(parts, f"{y} by {x}. " + "; ".join(words))


def intervals(rows: Sequence[tuple[str, float, float, float]], x: str) -> str:
    """A point with its interval (name, low, middle, high) a row, and where zero is."""
    rows = [row for row in rows if all(map(math.isfinite, row[1:]))]
    across = ticks(min([0.0, *(r[1] for r in rows)]), max([0.0, *(r[3] for r in rows)]), 4)
    height = TOP + BOTTOM + 34 * len(rows)
    to_x = Scale(across[0], across[-1], 14, WIDTH - 14)
    foot = height - BOTTOM
    parts = [_ticks_x(to_x, [(t, _said(t)) for t in across], foot, x)]
    parts.append(
        f'<line class="zero" x1="{to_x(0):.1f}" x2="{to_x(0):.1f}" y1="{TOP}" y2="{foot}"/>'
    )
    for place, (name, low, middle, high) in enumerate(rows):
        y = TOP + 34 * place + 24
        parts.append(f'<text class="label" x="14" y="{y - 9}">{esc(short(name, 52))}</text>')
        ends = f'x1="{to_x(low):.1f}" x2="{to_x(high):.1f}" y1="{y}" y2="{y}"'
        parts.append(f'<line class="span s0" {ends}/>')
        parts.append(f'<circle class="dot s0" cx="{to_x(middle):.1f}" cy="{y}" r="4"/>')
    words = [f"{n} {_said(m)}, from {_said(a)} to {_said(b)}" for n, a, m, b in rows]
    return _svg(parts, f"{x}. " + "; ".join(words), height)


def dots(points: np.ndarray, groups: np.ndarray, pictures: Iterable[str], about: str) -> str:
    """A map: (n, 2) points in [0, 1], each in the colour of its group, below some pictures.

    ``groups`` (n,) are numbers of colours, -1 for none; ``pictures`` are SVG of their own.
    """
    side = 640
    to = Scale(0, 1, 16, side - 16)
    parts = []
    for group in np.unique(groups):
        mine = points[groups == group]
        path = "".join(f"M{to(x):.0f} {to(1 - y):.0f}h0" for x, y in mine)
        kind = f"s{group % SERIES}" if group >= 0 else "other"
        parts.append(f'<path class="cloud {kind}" d="{path}"/>')
    return _svg([*parts, *pictures], about, side, side)


def _finite(one: Line) -> Line:
    """Its finite points, fewer of a very long line."""
    given = [(a, b) for a, b in zip(one.x, one.y, strict=True) if a is not None and b is not None]
    pairs = [(float(a), float(b)) for a, b in given if math.isfinite(a) and math.isfinite(b)]
    if len(pairs) > POINTS:
        places = np.unique(np.linspace(0, len(pairs) - 1, POINTS).astype(int))
        pairs = [pair for n, pair in enumerate(pairs) if n in set(places.tolist())]
    return Line(one.name, [a for a, _ in pairs], [b for _, b in pairs], one.mark)


def _in_words(one: Line) -> str:
    if not one.y:
        return f"{one.name}: no values"
    return (f"{one.name}: from {_said(one.y[0])} to {_said(one.y[-1])}, "
            f"highest {_said(max(one.y))}")  # fmt: skip


def _axes(
    to_x: Scale,
    to_y: Scale,
    across: Sequence[tuple[float, str]],
    up: Sequence[float],
    x: str,
    y: str,
) -> str:
    parts = []
    for tick in up:
        at = to_y(tick)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
        )
        parts.append(_text("tick", LEFT - 5, at + 3.5, _said(tick), "end"))
    parts.append(_ticks_x(to_x, across, HEIGHT - BOTTOM, x))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text class="axis" transform="translate(9 {middle:.0f}) rotate(-90)" '
        f'text-anchor="middle">{esc(y)}</text>'
    )
    return "".join(parts)


def _ticks_x(to_x: Scale, across: Sequence[tuple[float, str]], foot: float, x: str) -> str:
    parts = [_text("tick", to_x(at), foot + 15, said) for at, said in across]
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(_text("axis", middle, foot + 34, x))
    return "".join(parts)


def _text(kind: str, x: float, y: float, said: str, anchor: str = "middle") -> str:
    where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {where}>{esc(said)}</text>'


def _said(value: float) -> str:
    """A number as short as it can be."""
    if not math.isfinite(value):
        return "none"
    if abs(value) >= 999_500_000:
        return f"{value / 1e6:,.0f}M"
    if abs(value) >= 10_000:
        return f"{value / 1e6:.3g}M" if abs(value) >= 999_500 else f"{value / 1e3:.3g}k"
    if abs(value) >= 999.5:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value else "0"


def _svg(parts: Iterable[str], about: str, height: float = HEIGHT, width: float = WIDTH) -> str:
    box = f'viewBox="0 0 {width:.0f} {height:.0f}"'
    return f'<svg role="img" {box} aria-label="{esc(short(about, 1200))}">{"".join(parts)}</svg>'
