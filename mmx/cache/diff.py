"""What two stores have in common and what not, item by item, in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmx.bounds import check, whole
from mmx.cache.merge import RowSource, window_rows
from mmx.cache.plan import locate
from mmx.cache.schema import store_schema
from mmx.cache.store import Store, open_store

AT_ONCE = 4096  # rows compared at once
NAMED = 10  # ids listed of those that only one store has


@dataclass
class VectorDifference:
    """How far apart the vectors of one modality are, over the items that have one in both."""

    compared: int = 0  # items
    differing: int = 0  # items of which any number differs
    max_abs: float = 0.0  # largest difference of two numbers
    min_cosine: float = 1.0  # over the items that differ; NaN ones left out
    worst: list[dict[str, Any]] = field(default_factory=list)  # largest max_abs first

    def add(self, ids: pa.Array, a: np.ndarray, b: np.ndarray, keep: int) -> None:
        """Add (n, d) vectors of the same n items."""
        self.compared += len(a)
        rows = np.flatnonzero((a != b).any(axis=1))
        if not len(rows):
            return
        x, y = a[rows].astype(np.float64), b[rows].astype(np.float64)
        gap = np.nan_to_num(np.abs(x - y).max(axis=1), nan=np.inf)
        with np.errstate(invalid="ignore", divide="ignore"):
            cosine = (x * y).sum(1) / (np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1))
        self.differing += len(rows)
        self.max_abs = max(self.max_abs, float(gap.max()))
        self.min_cosine = min(self.min_cosine, float(np.fmin.reduce(cosine, initial=1.0)))
        top = np.argsort(-gap, kind="stable")[:keep]
        self.worst += [
            {"item_id": ids[int(rows[n])].as_py(), "max_abs": float(gap[n]),
             "cosine": float(cosine[n])}
            for n in top
        ]  # fmt: skip
        self.worst = sorted(self.worst, key=lambda row: -row["max_abs"])[:keep]


@dataclass
class StoreDiff:
    """Everything in which two stores, A and B, differ."""

    rows: tuple[int, int]
    common: int = 0  # items that both have
    only_in_a: int = 0
    only_in_b: int = 0
    only_in_a_ids: list[str] = field(default_factory=list)  # the first NAMED
    only_in_b_ids: list[str] = field(default_factory=list)
    same_order: bool = True  # of the common items
    content_hash: int = 0  # common items encoded from other inputs
    statuses: dict[str, dict[str, int]] = field(default_factory=dict)  # modality → "a → b" → items
    vectors: dict[str, VectorDifference] = field(default_factory=dict)  # modality
    card: dict[str, tuple[Any, Any]] = field(default_factory=dict)  # field → its two values
    versions: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    incomparable: list[str] = field(default_factory=list)  # modalities of one store, or of two d

    @property
    def equal(self) -> bool:
        """Same items, inputs, statuses and vectors of the same encoder, in any order.

        The encoder's name and the library versions may differ: they change no row.
        """
        moved = any(vector.differing for vector in self.vectors.values())
        lacking = self.only_in_a or self.only_in_b or self.incomparable
        other_encoder = self.card.keys() - {"name"}
        return not (lacking or self.content_hash or self.statuses or moved or other_encoder)

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {"equal": self.equal, **asdict(self)}


def diff(
    a: Path, b: Path, worst: int = 10, progress: Callable[[int, int], None] = lambda n, total: None
) -> StoreDiff:
    """Compare two stores by item_id; ``worst`` items with the largest difference are named.

    Of both stores the ids are in memory, of the rest some ten thousand rows at a time. Raises
    StoreError when a path is not a store, OptionError when ``worst`` is negative.
    """
    check("--worst ", worst, whole(0))
    left, right = open_store(a), open_store(b)
    sources = [RowSource(s.files, store_schema(s.card, s.dtype)) for s in (left, right)]
    tables = [source.columns(["item_id"]) for source in sources]
    place = locate(tables[0]["item_id"], tables[1])  # (rows of A,) row of B, -1 where none
    found = _cards(left, right, StoreDiff((left.rows, right.rows)))
    mine = np.flatnonzero(place >= 0)
    found.common, found.same_order = len(mine), bool((np.diff(place[mine]) > 0).all())
    found.only_in_a, found.only_in_a_ids = _some(tables[0], place < 0)
    theirs = np.ones(right.rows, dtype=bool)
    theirs[place[mine]] = False
    found.only_in_b, found.only_in_b_ids = _some(tables[1], theirs)
    window = window_rows(place[mine], sources[1].schema)
    for start in range(0, len(mine), window):
        rows = mine[start : start + window]
        one, two = sources[0].take(rows), sources[1].take(place[rows])
        for at in range(0, len(rows), AT_ONCE):
            _compare(one.slice(at, AT_ONCE), two.slice(at, AT_ONCE), found, worst)
            progress(start + min(at + AT_ONCE, len(rows)), len(mine))
    return found


def _cards(left: Store, right: Store, found: StoreDiff) -> StoreDiff:
    one = {"dtype": left.dtype, **asdict(left.card)}
    two = {"dtype": right.dtype, **asdict(right.card)}
    found.card = {key: (one[key], two[key]) for key in one if one[key] != two[key]}
    names = sorted({*left.versions, *right.versions})
    pairs = {name: (left.versions.get(name), right.versions.get(name)) for name in names}
    found.versions = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    dimensions = left.card.dimensions, right.card.dimensions
    for modality in {**dimensions[0], **dimensions[1]}:
        if dimensions[0].get(modality) == dimensions[1].get(modality):
            found.vectors[modality] = VectorDifference()
        else:
            found.incomparable.append(modality)
    return found


def _some(table: pa.Table, which: np.ndarray) -> tuple[int, list[str]]:
    rows = np.flatnonzero(which)
    return len(rows), table["item_id"].take(pa.array(rows[:NAMED])).to_pylist()


def _compare(a: pa.Table, b: pa.Table, found: StoreDiff, keep: int) -> None:
    """Add one window of the same items of both stores."""
    found.content_hash += int(_unlike(a["content_hash"], b["content_hash"]).sum())
    for name in a.column_names:
        if name.endswith("_status") and name in b.column_names:
            unlike = _unlike(a[name], b[name])
            pairs = zip(
                *(t[name].filter(pa.array(unlike)).to_pylist() for t in (a, b)), strict=True
            )
            counts = Counter(f"{one} → {two}" for one, two in pairs)
            known = Counter(found.statuses.get(name.removesuffix("_status"), {}))
            if counts:
                found.statuses[name.removesuffix("_status")] = dict(known + counts)
    ids = a["item_id"].combine_chunks()
    for modality, difference in found.vectors.items():
        both = pc.and_(a[modality].is_valid(), b[modality].is_valid())
        one, two = (_matrix(table[modality].filter(both)) for table in (a, b))
        difference.add(ids.filter(both.combine_chunks()), one, two, keep)


def _unlike(one: pa.ChunkedArray, two: pa.ChunkedArray) -> np.ndarray:
    """(n,) bool: where two columns differ; null equals null."""
    same = pc.fill_null(pc.equal(one, two), False).to_numpy().astype(bool)
    neither = pc.and_(one.is_null(), two.is_null()).to_numpy().astype(bool)
    return ~(same | neither)


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    """(n, d) of a column without nulls."""
    values = column.combine_chunks()
    return values.flatten().to_numpy(zero_copy_only=False).reshape(-1, values.type.list_size)
