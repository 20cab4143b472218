"""What a store's vectors look like: the map, and how images and texts of one item agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mmx.cache.store import Store
from mmx.experiments.alignment import alignment, uniformity, unit
from mmx.report.items import Cards
from mmx.report.markup import absent, esc, note, short, table
from mmx.report.svg import SERIES, Line, chart, dots, lines
from mmx.search.plane import Map, map_of

POINTS = 4000  # of the map
PAIRS = 2000  # items of which each text is compared with each image
GRID = 8  # cells across, each with a picture of one of its items
THUMB = 56  # px
EDGES = np.linspace(-1, 1, 81)


def map_html(store: Store, modality: str, items: Cards, column: str | None, seed: int) -> str:
    """The map of a modality, coloured by a column, with some pictures."""
    found = map_of(store, modality, POINTS, seed)
    if not len(found.ids):
        return note(f"No item of {store.path.name} has a vector of {modality} to draw.")
    name = items.column(column)
    groups, names = items.colours(name, found.ids)
    said = f"{len(found.ids):,} items" + (
        "" if len(found.ids) == found.total else f", drawn at random from {found.total:,}"
    )
    coloured = f"coloured by {short(name, 40)}" if name else "in one colour"
    title = f"{modality} vectors of {store.path.name}: {said}, {coloured}"
    drawing = dots(found.points, groups, _pictures(found, groups, items), f"Map of {title}")
    rest = "Grey: other values, or none. " if names and (groups < 0).any() else ""
    more = f"{rest}The two principal axes: near items are alike, but distant ones may be, too."
    return f'<div class="map">{chart(title, drawing, names, more)}</div>'


def _pictures(found: Map, groups: np.ndarray, items: Cards) -> list[str]:
    """In each cell of a grid the picture of the item nearest to its middle."""
    cells: dict[tuple[int, int], tuple[float, int]] = {}
    for row, point in enumerate(found.points):
        place = np.minimum((point * GRID).astype(int), GRID - 1)
        away = float(((point * GRID - place - 0.5) ** 2).sum())
        key = (int(place[0]), int(place[1]))
        if key not in cells or away < cells[key][0]:
            cells[key] = (away, row)
    chosen = {found.ids[row].as_py(): row for _, row in cells.values()}
    uris, titles = items.embedded(chosen, THUMB), items.titles(chosen)
    drawn, half = [], 17
    for one, row in chosen.items():
        if one in uris:
            x, y = found.points[row]
            where = f'x="{16 + x * 608 - half:.0f}" y="{16 + (1 - y) * 608 - half:.0f}"'
            size = f'width="{2 * half}" height="{2 * half}"'
            named = f"<title>{esc(titles[one])}</title>"
            kind = f"s{groups[row] % SERIES}" if groups[row] >= 0 else "other"
            drawn.append(
                f'<image {where} {size} href="{uris[one]}" preserveAspectRatio="xMidYMid slice">'
                f'{named}</image><rect class="frame {kind}" {where} {size} rx="3"/>'
            )
    return drawn


@dataclass(frozen=True)
class Agreement:
    """Images and texts of the same items compared."""

    items: int  # that have both
    compared: int
    first: dict[str, dict[int, float]]  # direction → K → share whose partner is among the first K
    alignment: float
    uniformity: tuple[float, float]  # of images, of texts
    same: np.ndarray  # (compared,) cosines of partners
    others: np.ndarray  # cosines of items that are no partners


def agreement(store: Store, seed: int) -> Agreement | None:
    """None where the store has no images and texts in one space, or no two items with both."""
    sizes = store.card.dimensions
    if "image" not in sizes or sizes.get("image") != sizes.get("text"):
        return None
    ids = pa.chunked_array([b["item_id"].cast(pa.string()) for b in _both(store)], pa.string())
    if len(ids) < 2:
        return None
    chosen = ids
    if len(ids) > PAIRS:
        rows = np.sort(np.random.default_rng(seed).choice(len(ids), PAIRS, replace=False))
        chosen = ids.take(pa.array(rows))
    (x, has_x), (y, has_y) = (store.vectors(m, chosen) for m in ("image", "text"))
    usable = has_x & has_y & np.isfinite(x).all(1) & np.isfinite(y).all(1)
    usable &= x.any(1) & y.any(1)
    if usable.sum() < 2:
        return None
    x, y = unit(x[usable]), unit(y[usable])
    cosines = x @ y.T
    same = np.diagonal(cosines).copy()
    apart = cosines[~np.eye(len(x), dtype=bool)]
    ways = {"image → text": cosines, "text → image": cosines.T}
    return Agreement(
        len(ids), len(x), {name: _among(found) for name, found in ways.items()},
        alignment(x, y), (uniformity(x), uniformity(y)), same, apart,
    )  # fmt: skip


def _both(store: Store) -> list[pa.RecordBatch]:
    """Ids of the rows with an image and a text."""
    found = []
    for batch in store.batches():
        there = np.ones(len(batch), dtype=bool)
        for name in ("image", "text"):
            there &= batch[name].is_valid().to_numpy(zero_copy_only=False)
        found.append(batch.select(["item_id"]).filter(pa.array(there)))
    return found


def _among(cosines: np.ndarray) -> dict[int, float]:
    """Share of rows whose own column is among the K highest; equal cosines count against it."""
    places = (cosines >= np.diagonal(cosines)[:, None]).sum(1)
    return {k: float((places <= k).mean()) for k in (1, 5, 10)}


def agreement_html(store: Store, seed: int) -> str:
    """Retrieval, alignment, and the cosines of partners beside those of strangers."""
    found = agreement(store, seed)
    if found is None:
        return absent(
            f"{store.path.name} has no images and texts in one space, which this needs; a store of "
            "an encoder of both has:", "mmx extract --model clip")  # fmt: skip
    rows = [[way, *shares.values(), 1 / found.compared] for way, shares in found.first.items()]
    heads = ["find the partner", "first", "among 5", "among 10", "first by chance"]
    said = f"Each of {found.compared:,} items: its own text among all texts, and its own image"
    figures = [["alignment (lower: partners are closer)", found.alignment],
               ["uniformity of images (lower: more evenly spread)", found.uniformity[0]],
               ["uniformity of texts", found.uniformity[1]]]  # fmt: skip
    drawing = lines(
        [_density("image and text of one item", found.same),
         _density("of two items", found.others)], "cosine", "share",
    )  # fmt: skip
    names = ["image and text of one item", "of two items"]
    sampled = "" if found.items == found.compared else f" of {found.items:,}, drawn at random"
    return (
        table(heads, rows, said + sampled)
        + table(["measure", "value"], figures)
        + f'<div class="charts">{chart("Cosines of images and texts", drawing, names)}</div>'
    )


def _density(name: str, cosines: np.ndarray) -> Line:
    counts = np.histogram(np.clip(cosines, -1, 1), EDGES)[0] / max(len(cosines), 1)
    there = np.flatnonzero(counts)
    low, high = max(int(there[0]) - 1, 0), min(int(there[-1]) + 2, len(counts))
    middles = (EDGES[:-1] + EDGES[1:]) / 2
    return Line(name, middles[low:high].tolist(), counts[low:high].tolist())
