"""Decide what to encode. Pure: tables in, a plan out; the pipeline only executes it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmx.cache.schema import MISSING, OK


def content_hash(image: bytes | None, text: str | None) -> str:
    """128-bit hash of one item's inputs as hex; None where there is none or it is not used."""
    digest = hashlib.blake2b(digest_size=16)
    for mark, part in ((b"i", image), (b"t", text.encode() if text is not None else None)):
        if part is not None:
            digest.update(mark + len(part).to_bytes(8, "little"))
            digest.update(part)
    return digest.hexdigest()


@dataclass(frozen=True)
class StorePlan:
    """What happens to each item, in the order of the items table."""

    encode: np.ndarray  # (n,) bool, True where the encoder must run
    source: np.ndarray  # (n,) int64, row among the finished rows to reuse, -1 where none
    removed: int  # finished rows whose item is no longer in the table

    @property
    def reused(self) -> int:
        """Items whose finished row is taken over."""
        return int((self.source >= 0).sum())

    @property
    def moves(self) -> bool:
        """Whether the finished rows are not, one for one, those of the items table."""
        return self.removed > 0 or not np.array_equal(self.source, np.arange(len(self.source)))


def locate(items: pa.ChunkedArray, finished: pa.Table) -> np.ndarray:
    """(n,) int64: the last finished row of each item, -1 where there is none."""
    newest_first = finished["item_id"].combine_chunks()[::-1]
    place = pc.fill_null(pc.index_in(items, value_set=newest_first), -1)
    place = place.to_numpy().astype(np.int64)
    return np.where(place >= 0, finished.num_rows - 1 - place, -1)


def make_plan(
    items: pa.ChunkedArray,
    finished: pa.Table,
    hashes: pa.Array,
    unread: pa.Array | None = None,
    *,
    retry_failed: bool = False,
    passing: Sequence[str] = (),
) -> StorePlan:
    """Compare the items with the finished rows.

    ``finished`` has item_id, content_hash and the status columns, later rows overriding
    earlier ones. ``hashes`` holds the present content hash of each item that has a finished
    row (null is allowed elsewhere). ``unread`` holds the present status of pictures of which
    there are no bytes, and null for the others: no picture and a lost one have the same hash.
    Rows with a reason in ``passing`` are never reused.
    """
    source = locate(items, finished)
    here = source >= 0
    rows = finished.take(pa.array(source[here]))
    good = _equal(rows["content_hash"], hashes.filter(pa.array(here)))
    if unread is not None and "image_status" in rows.column_names:
        now = unread.filter(pa.array(here))
        good &= _equal(rows["image_status"], pc.coalesce(now, rows["image_status"]))
    if passing and "image_status" in rows.column_names:
        passed = pc.is_in(rows["image_status"], value_set=pa.array(passing, pa.string()))
        good &= ~passed.to_numpy(zero_copy_only=False)
    if retry_failed:
        good &= ~failed_rows(rows)
    source[np.flatnonzero(here)[~good]] = -1
    known = pc.unique(finished["item_id"])
    kept = pc.sum(pc.is_in(known, value_set=items.combine_chunks())).as_py() or 0
    return StorePlan(encode=source < 0, source=source, removed=len(known) - kept)


def failed_rows(rows: pa.Table) -> np.ndarray:
    """(n,) bool: True where an input was there and could not be encoded."""
    failed = np.zeros(rows.num_rows, dtype=bool)
    for name in ("image_status", "text_status"):
        if name in rows.column_names:
            fine = pc.is_in(rows[name], value_set=pa.array([OK, MISSING]))
            failed |= ~fine.to_numpy(zero_copy_only=False)
    return failed


def _equal(left: pa.ChunkedArray, right: pa.Array | pa.ChunkedArray) -> np.ndarray:
    same = pc.fill_null(pc.equal(left, right), False)
    return same.to_numpy(zero_copy_only=False).astype(bool)
