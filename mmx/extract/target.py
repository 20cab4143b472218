"""Is there anything to encode, and may it go into the store that is at the target?"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from mmx.cache.card import EncoderCard
from mmx.cache.schema import inputs
from mmx.cache.store import open_store
from mmx.data.dataset import Items
from mmx.errors import DataError, StoreError


def check_items(items: Items, card: EncoderCard) -> None:
    """Raise DataError when no item has anything that the encoder reads."""
    reads = inputs(card)
    if any(_says_something(items.table[name]) for name in reads):
        return
    there = [
        name
        for name in items.table.column_names
        if name not in ("image", "text") or items.table[name].null_count < len(items)
    ]
    images = ", or --images FOLDER for pictures called by the ids" if "image" in reads else ""
    raise DataError(
        f"{items.path}: nothing to encode: {card.name} reads the column {' or '.join(reads)}, and "
        f"no row has anything there (columns: {', '.join(there)}); name one so{images}"
    )


def _says_something(column: pa.ChunkedArray) -> bool:
    """Whether a text is more than white space."""
    lengths = pc.utf8_length(pc.utf8_trim_whitespace(column))
    return bool(pc.any(pc.greater(lengths, 0)).as_py())


DECODED = {
    "exact": "with --exact",
    "gpu": "with --gpu-decode",
    "fast": "without --exact and --gpu-decode",
}


def check_store(out: Path, card: EncoderCard, dtype: str) -> None:
    """Raise StoreError when the store at ``out`` is of another encoder, or of other numbers."""
    if not out.exists():
        return
    store = open_store(out)
    differing = store.card.differences(card)
    if differing:
        hint = "" if "architecture" in differing else _decoding_hint(store.card, card)
        hint += store.card.code_hint(card)
        raise StoreError(
            f"{out} was made by {store.card.name} ({store.card.precision}) and differs in "
            f"{', '.join(differing)}; {hint}"
            "set --out elsewhere, or --overwrite"
        )
    if store.dtype != dtype:
        raise StoreError(f"{out} holds {store.dtype}; --dtype {store.dtype}, or --overwrite")


def _decoding_hint(there: EncoderCard, here: EncoderCard) -> str:
    """How the pictures of the store were decoded, where both have some and that differs."""
    if there.image_rule is None or here.image_rule is None:
        return ""
    was, now = (rule.get("decode", "exact") for rule in (there.image_rule, here.image_rule))
    return (
        ""
        if was == now
        else f"its pictures were decoded {DECODED.get(str(was), 'in an unknown way')}; "
    )
