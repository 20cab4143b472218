"""Pictures that look alike though their files differ: other sizes, other compression.

The hash is that of differences: a picture becomes 9 by 9 grey levels, and each of 64 bits says
whether a level is clearly above the one to its right. Two pictures look alike where at most
``BITS`` bits differ and their mean colours are near. A picture of nearly one shade has no hash.
"""

from __future__ import annotations

from typing import Any

import duckdb
import numpy as np

from mmx.extract.pictures.images import ImageRule

SIDE = 9
SQUARE = ImageRule(
    size=SIDE, resize=SIDE, mode="squash", interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1)
)
STEP = 2  # grey levels; a smaller difference is noise
PLAIN = 16  # grey levels between the lightest and the darkest, below which a picture is plain
BITS = 3  # that may differ: then one of four quarters of the hash is the same
COLOUR = 8  # levels of a mean colour that may differ
CROWD = 2000  # different hashes with the same quarter, above which it is not used


def look_of(pixels: np.ndarray) -> dict[str, Any]:
    """(9, 9, 3) uint8 → the hash (None of a plain picture), the mean colour, whether plain."""
    grey = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)  # (9, 9)
    r, g, b = (int(level) for level in pixels.reshape(-1, 3).mean(0))
    if np.ptp(grey) < PLAIN:
        return {"shade": None, "r": r, "g": g, "b": b, "plain": True}
    bits = np.diff(np.delete(grey, SIDE // 2, axis=0), axis=1) < -STEP  # (8, 8)
    shade = int.from_bytes(np.packbits(bits).tobytes(), "big")
    return {"shade": shade, "r": r, "g": g, "b": b, "plain": False}


class Alike:
    """Groups over the table ``seen`` of ``mmx.extract.checking.inputs``."""

    def __init__(self, db: duckdb.DuckDBPyConnection) -> None:
        self.db = db

    def groups(self, shown: int) -> dict[str, Any]:
        """How many groups of different files look alike, their items, and the first few."""
        self.db.execute(
            "create table looks as select row_number() over () as look, * from "
            "(select shade, r, g, b, count(distinct picture) as files, count(*) as items "
            "from seen where shade is not null group by all)"
        )
        root = _united(self._pairs())
        alone = "select look, items from looks where files > 1"
        sizes = dict(self.db.execute(alone).fetchall())
        members: dict[int, list[int]] = {}
        for look in {*root, *sizes}:
            members.setdefault(_top(root, look), []).append(look)
        listed = sorted(members.values(), key=min)
        return {
            "groups": len(listed),
            "items": self._items([look for group in listed for look in group]),
            "examples": [self._ids(group, shown) for group in listed[:shown]],
        }

    def _pairs(self) -> list[tuple[int, int]]:
        quarters = " union all ".join(
            f"select look, shade, r, g, b, {n} as part, (shade >> {16 * n}) & 65535 as value "
            "from looks"
            for n in range(4)
        )
        near = " and ".join(f"abs(x.{c} - y.{c}) <= {COLOUR}" for c in "rgb")
        return self.db.execute(
            f"with quarters as (select * from ({quarters}) "
            f"qualify count(*) over (partition by part, value) <= {CROWD}) "
            "select distinct x.look, y.look from quarters x join quarters y "
            "on x.part = y.part and x.value = y.value and x.look < y.look "
            f"where bit_count(xor(x.shade, y.shade)) <= {BITS} and {near}"
        ).fetchall()

    def _items(self, looks: list[int]) -> int:
        asked = "select coalesce(sum(items), 0)::bigint from looks where look in (select unnest(?))"
        return int(self.db.execute(asked, [looks]).fetchall()[0][0])

    def _ids(self, looks: list[int], shown: int) -> list[str]:
        rows = self.db.execute(
            "select item_id from seen join looks using (shade, r, g, b) "
            "where look in (select unnest(?)) order by n limit ?", [looks, shown],
        ).fetchall()  # fmt: skip
        return [item for (item,) in rows]


def _united(pairs: list[tuple[int, int]]) -> dict[int, int]:
    """A forest in which the ends of each pair are in one tree."""
    root: dict[int, int] = {}
    for one, other in pairs:
        root[_top(root, one)] = _top(root, other)
        root.setdefault(other, other)
    return root


def _top(root: dict[int, int], look: int) -> int:
    while (above := root.get(look, look)) != look:
        root[look] = root.get(above, above)
        look = above
    return look
