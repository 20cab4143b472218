"""What became of the rows of a store: encoded, missing, failed and why, texts cut short."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mmx.cache.decoding import opened, read_columns
from mmx.cache.schema import MISSING, OK, status_columns
from mmx.cache.seal import read_footer
from mmx.cache.store import Store

EXAMPLES = 5
UNKNOWN = "null"  # a status that another tool left out


@dataclass
class Affected:
    """How many rows, and the ids of the first few in the store's order."""

    rows: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Condition:
    """Of one input or modality of a store."""

    ok: int
    missing: Affected
    failed: dict[str, Affected]  # by reason, the most frequent first

    @property
    def failures(self) -> int:
        """Rows that could not be encoded."""
        return sum(found.rows for found in self.failed.values())


@dataclass(frozen=True)
class Health:
    """Of a whole store."""

    rows: int
    modalities: dict[str, Condition]
    truncated: Affected | None  # None: the store has no texts

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def health(store: Store, examples: int = EXAMPLES) -> Health:
    """Read its ids and statuses, no vectors. Raises DamagedError.

    ``examples`` is the number of ids kept of each kind of row.
    """
    names = status_columns(store.card)
    found: dict[str, dict[str, Affected]] = {name: defaultdict(Affected) for name in names}
    texts = "text_status" in names
    cut = Affected()
    for file in store.files:
        footer = read_footer(file)[0]
        with opened(file, footer) as source:
            flags = ["text_truncated"] if "text_truncated" in source.schema_arrow.names else []
            table = read_columns(source, ["item_id", *names, *flags])
        ids = table["item_id"].cast(pa.string())
        for name in names:
            statuses = pc.fill_null(table[name].cast(pa.string()), UNKNOWN)
            for status in pc.unique(statuses).to_pylist():
                rows = pc.equal(statuses, status)
                _add(found[name][status], ids, rows, 0 if status == OK else examples)
        for name in flags:
            _add(cut, ids, pc.fill_null(table[name], False), examples)
    conditions = {name.removesuffix("_status"): _condition(found[name]) for name in names}
    return Health(store.rows, conditions, cut if texts else None)


def _add(into: Affected, ids: pa.ChunkedArray, rows: pa.ChunkedArray, examples: int) -> None:
    into.rows += pc.sum(rows).as_py() or 0
    wanted = examples - len(into.examples)
    if wanted > 0:
        into.examples += ids.filter(rows)[:wanted].to_pylist()


def _condition(found: dict[str, Affected]) -> Condition:
    reasons = sorted(found.keys() - {OK, MISSING}, key=lambda name: (-found[name].rows, name))
    missing = found[MISSING] if MISSING in found else Affected()
    ok = found[OK].rows if OK in found else 0
    return Condition(ok, missing, {name: found[name] for name in reasons})
