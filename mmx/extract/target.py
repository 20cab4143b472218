"""May an extraction go on over the store that stands at its target?"""

from __future__ import annotations

from pathlib import Path

from mmx.cache.card import EncoderCard
from mmx.cache.store import open_store
from mmx.errors import StoreError


def check_store(out: Path, card: EncoderCard, dtype: str) -> None:
    """Raise StoreError when the store at ``out`` is of another encoder, or of other numbers."""
    if not out.exists():
        return
    store = open_store(out)
    differing = store.card.differences(card)
    if differing:
        hint = "" if "architecture" in differing else _decoding_hint(store.card, card)
        raise StoreError(
            f"{out} was made by {store.card.name} ({store.card.precision}) and differs in "
            f"{', '.join(differing)}; {hint}"
            "set --out elsewhere, or --overwrite"
        )
    if store.dtype != dtype:
        raise StoreError(f"{out} holds {store.dtype}; --dtype {store.dtype}, or --overwrite")


def _decoding_hint(there: EncoderCard, here: EncoderCard) -> str:
    """The options that decode pictures as those of the store, where that is what differs."""
    options = {"exact": "--exact", "gpu": "--gpu-decode"}
    was, now = ((card.image_rule or {}).get("decode", "exact") for card in (there, here))
    steps = [("drop", now), ("add", was)] if was != now else []
    return "".join(f"{verb} {options[way]}, " for verb, way in steps if way in options)
