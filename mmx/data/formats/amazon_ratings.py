"""Amazon's ratings alone, as CSV: the files that have no texts.

    2014  ratings_X.csv    user,item,rating,timestamp    no header
    2018  X.csv            item,user,rating,timestamp    no header
    2023  X.csv, X.csv.gz  user_id,parent_asin,rating,timestamp[,history]

Without a header the ids say which is which: an item's is an ISBN or begins with B0, a user's is
neither.
"""

from __future__ import annotations

import re
from pathlib import Path

from mmx.data.formats.cells import cell, header
from mmx.data.formats.options import ImportSource
from mmx.data.formats.workspace import Column, Layout
from mmx.errors import DataError, first_few

PATTERNS = ("*.csv", "*.csv.gz")
NAMES = {
    "user_id": ("user_id", "reviewerID", "user"),
    "item_id": ("parent_asin", "asin", "item_id", "item"),
    "rating": ("rating", "overall"),
    "timestamp": ("timestamp", "unixReviewTime"),
}
LACKS = {
    "user_id": "there is no user", "item_id": "there is no item",
    "rating": "the rating is missing or not a number",
    "timestamp": "the time is missing or not a whole number",
}  # fmt: skip
KINDS = {"rating": "DOUBLE", "timestamp": "BIGINT"}
ITEM = re.compile(r"B0[0-9A-Z]{8}|[0-9]{9}[0-9X]")
LOOK = 1000  # lines from which the order of the ids is told


def is_ratings(line: str) -> bool:
    """Whether the first line of a file looks like these."""
    return not line.lstrip().startswith(("{", "[")) and line.count(",") >= 3


def load(source: ImportSource, path: Path) -> None:
    """Read a file. Raises DataError where its columns cannot be told."""
    number, names = header(path, source.reader, ",", again=True)
    if any(name in names for known in NAMES.values() for name in known):
        places = {ours: _place(ours, names, path) for ours in NAMES}
    else:
        number, places = 0, _told_by_ids(source, path)
    columns = [
        Column(ours, cell(place), KINDS.get(ours, "VARCHAR"), LACKS[ours])
        for ours, place in places.items()
    ]
    layout = Layout(columns, ",", len(names))
    source.work.fill("log", source.using(path), layout, source.reader, number)


def _place(ours: str, names: list[str], path: Path) -> int:
    for name in NAMES[ours]:
        if name in names:
            return names.index(name)
    raise DataError(
        f"{path}: the header has no {' or '.join(NAMES[ours])}; it has {first_few(names, 8)}"
    )


def _told_by_ids(source: ImportSource, path: Path) -> dict[str, int]:
    """The place of each column, from what the ids of the first lines look like."""
    votes = [0, 0]
    for line in source.reader.head(path, LOOK):
        cells = line.split(",")
        for place in (0, 1):
            votes[place] += len(cells) == 4 and ITEM.fullmatch(cells[place].strip()) is not None
    if votes[0] == votes[1]:
        raise DataError(
            f"{path} has no header, and its ids do not say which are the items; put "
            "user_id,item_id,rating,timestamp before the first line"
        )
    item = int(votes[1] > votes[0])
    return {"user_id": 1 - item, "item_id": item, "rating": 2, "timestamp": 3}
